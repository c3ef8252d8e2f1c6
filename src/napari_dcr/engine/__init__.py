"""The tile engine: sources, survey, plan, runner, sinks, devices."""

import os

# Tens of feature maps of tens of megabytes come and go with every window, and mapping their
# pages anew takes as long as the convolutions. Huge pages make that 5 times cheaper. Torch reads
# this when it allocates first; it has no effect on systems other than Linux.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
