#!/usr/bin/env bash
# bioio-czi 3.0.1 (aicspylibczi 4.0.1): colours of a CZI are returned in the order blue, green, red, in a dimension that does not say so. czifile 2019.7.2.3 returns red first.
#
# Expected before running: the samples of the dimension S are red, green and blue, as from bioio's readers of other formats.
# Observed: a pixel of red 200, green 20, blue 10 is [10, 20, 200] from bioio-czi and from aicspylibczi, and [200, 20, 10] from czifile. pylibCZIrw 6.1.0 also returns blue first, with the pixel type Bgr24 beside it.
# Consequence: red and blue are exchanged in stained slides, in everything that treats three samples as RGB: viewers, colour deconvolution, networks. Grey values of such pictures have the weights of red and blue exchanged.
# What we do: samples of CZI files are put in the order red, green, blue (`test_red_is_red`). Reverse the last axis of arrays that were read with bioio-czi.
#
# Output:
#   pylibCZIrw: Bgr24, [10, 20, 200]
#   aicspylibczi: A, [10, 20, 200]
#   bioio-czi: S, [10, 20, 200]
#   czifile: [200, 20, 10]
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "bioio-czi==3.0.1" "aicspylibczi==4.0.1" "pylibCZIrw==6.1.0" "czifile==2019.7.2.3" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import os
import sys

import bioio_czi
import czifile
import numpy as np
from aicspylibczi import CziFile
from pylibCZIrw import czi

os.chdir(sys.argv[1])
with czi.create_czi("a.czi") as document:  # stores blue first, as the format demands
    document.write(np.full((32, 48, 3), (10, 20, 200), np.uint8), plane={"C": 0, "T": 0, "Z": 0})


def first(array):
    return array.reshape(-1, 3)[0].tolist()


with czi.open_czi("a.czi") as document:
    print(f"pylibCZIrw: {document.pixel_types[0]}, {first(document.read())}")
aics = CziFile("a.czi")
print(f"aicspylibczi: {aics.dims[-1]}, {first(aics.read_image()[0])}")
reader = bioio_czi.Reader("a.czi")
print(f"bioio-czi: {reader.dims.order[-1]}, {first(reader.data)}")
print(f"czifile: {first(czifile.imread('a.czi'))}")
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
pylibCZIrw: Bgr24, [10, 20, 200]
aicspylibczi: A, [10, 20, 200]
bioio-czi: S, [10, 20, 200]
czifile: [200, 20, 10]
EXPECTED
