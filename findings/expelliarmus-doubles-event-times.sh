#!/usr/bin/env bash
# expelliarmus 1.1.12 (evlib 0.13.2): the times of events in a Prophesee EVT 3.0 recording grow about twice as fast as those that the camera stored.
#
# Expected before running: a time is made of the last TIME_HIGH word (upper 12 bits) and the last TIME_LOW word (lower 12 bits), as the format's documentation says, so both readers agree.
# Observed: each time TIME_LOW starts again at 0, 4096 us are added, although TIME_HIGH has counted them already. Of one event per millisecond for 2 s, the last is returned at 3998848 us instead of 2000000 us. evlib returns 2000000 us.
# Consequence: rates, speeds and frequencies are halved, and events no longer fit the frames of a second camera. With few events the error depends on the intervals between them: one event per 4096 us is right. Its own EVT 3.0 files are read back as written, but by other readers wrongly.
# What we do: recordings of event cameras are not read. Take the times from another reader before you add events to frames.
#
# Output:
#   every 1000 us: last event at 2000000 us; evlib 2000000, expelliarmus 3998848
#   every 5000 us: last event at 2000000 us; evlib 2000000, expelliarmus 2360448
#   every 4096 us: last event at 1999848 us; evlib 1999848, expelliarmus 1999848
#   written by expelliarmus, every 1000 us to 199000 us: evlib 4080, expelliarmus 199000
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "expelliarmus==1.1.12" "evlib==0.13.2" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import os
import sys
from pathlib import Path

import evlib
import numpy as np
from expelliarmus import Wizard

os.chdir(sys.argv[1])
EVENT = np.dtype([("t", "i8"), ("x", "i2"), ("y", "i2"), ("p", "u1")], align=True)


def write(times):
    """Write pixel (60, 50) at these times in microseconds; TIME_HIGH is repeated every 16 us."""
    words, now = [], 0
    for time in times:
        while now <= time:
            words.append(0x8000 | now >> 12 & 0xFFF)
            now += 16
        words += [0x6000 | time & 0xFFF, 0x0000 | 50, 0x2000 | 0x800 | 60]  # TIME_LOW, y, x
    header = b"% evt 3.0\n% format EVT3;height=720;width=1280\n% geometry 1280x720\n% end\n"
    Path("a.raw").write_bytes(header + np.array(words, "<u2").tobytes())


def last_times(count):
    """Time of the last event from evlib and from expelliarmus."""
    events = evlib.load_events("a.raw").collect()
    records = Wizard(encoding="evt3").read("a.raw")
    assert len(events) == len(records) == count
    microseconds = events["t"].dt.total_microseconds()[-1]
    return f"evlib {microseconds}, expelliarmus {records['t'][-1]}"


for interval, first in ((1000, 1000), (5000, 5000), (4096, 1000)):
    times = list(range(first, 2_000_001, interval))
    write(times)
    text = last_times(len(times))
    print(f"every {interval} us: last event at {times[-1]} us; {text}")
events = np.zeros(199, EVENT)
events["t"] = np.arange(1000, 199_001, 1000)
events["x"], events["y"] = 60, 50
Wizard(encoding="evt3").save(fpath="a.raw", arr=events)
print(f"written by expelliarmus, every 1000 us to 199000 us: {last_times(199)}")
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" 2>/dev/null | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
every 1000 us: last event at 2000000 us; evlib 2000000, expelliarmus 3998848
every 5000 us: last event at 2000000 us; evlib 2000000, expelliarmus 2360448
every 4096 us: last event at 1999848 us; evlib 1999848, expelliarmus 1999848
written by expelliarmus, every 1000 us to 199000 us: evlib 4080, expelliarmus 199000
EXPECTED
