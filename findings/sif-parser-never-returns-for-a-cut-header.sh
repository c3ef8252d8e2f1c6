#!/usr/bin/env bash
# sif_parser 0.3.6: `np_open` of a SIF that ends within its header never returns: words are read byte by byte until a
# space or line end, and this loop does not stop at the end of the file.
#
# Expected before running: a file of 39 bytes raises an error, such as the SyntaxError for files of other kinds.
# Observed: the process runs without end, for all values of `ignore_corrupt` and `lazy`. An empty file and one of another kind
# raise SyntaxError at once. A file object that raises an error at its end ends the call, as `np_open` takes file objects too.
# Consequence: one recording that was cut off while it was copied blocks a batch of files for ever.
# What we do: the header is read through a file object that raises an error at its end.
#
# Output:
#   empty: SyntaxError not a SIF file
#   39 bytes: still running after 10 s
#   39 bytes through a file that ends: EOFError
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "sif_parser==0.3.6" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import io
import os
import subprocess
import sys

os.chdir(sys.argv[1])
OPEN = "import sys, sif_parser\ntry:\n    sif_parser.np_open(sys.argv[1])\nexcept BaseException as e:\n    print(type(e).__name__, e)"
open("empty.sif", "wb").close()
open("cut.sif", "wb").write(b"Andor Technology Multi-Channel File\n655")
for title, name in (("empty", "empty.sif"), ("39 bytes", "cut.sif")):
    try:
        done = subprocess.run([sys.executable, "-c", OPEN, name], capture_output=True, text=True, timeout=10)
        print(f"{title}: {done.stdout.strip()}")
    except subprocess.TimeoutExpired:
        print(f"{title}: still running after 10 s")


class Ending(io.BufferedReader):
    def read(self, size=-1):
        found = super().read(size)
        if size and not found:
            raise EOFError
        return found


import sif_parser

try:
    sif_parser.np_open(Ending(io.FileIO("cut.sif")))
except EOFError as error:
    print(f"39 bytes through a file that ends: {type(error).__name__}")
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
empty: SyntaxError not a SIF file
39 bytes: still running after 10 s
39 bytes through a file that ends: EOFError
EXPECTED
