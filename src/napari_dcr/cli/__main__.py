"""``python -m napari_dcr.cli``, the same as ``napari-dcr``."""

import sys

from napari_dcr.cli import main

sys.exit(main())
