#!/usr/bin/env bash
# imagecodecs 2026.3.6 (libjxl 0.11.2): `jpegxl_encode` labels uint16 values as linear light and uint8 values as sRGB.
# Viewers that respect the label display 16-bit pictures far too bright. The pixels themselves are correct.
#
# Expected before running: both are labelled as sRGB, as in PNG.
# Observed: the transfer function in the header (ISO/IEC 18181-1, annex D.3.5) is 13 (sRGB) for uint8, where the whole
# header has its default, and 8 (linear) for uint16. No argument of `jpegxl_encode` changes it. The code 13 has the
# same length.
# What we do: the transfer function in the header of 16-bit results is replaced by sRGB.
#
# Output:
#   bits of a sample: 8
#   uint8 transfer function 13 (8 linear, 13 sRGB)
#   bits of a sample: 16
#   uint16 transfer function 8 (8 linear, 13 sRGB)
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "imagecodecs==2026.3.6" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import imagecodecs
import numpy as np


class Bits:
    """Fields of a header, least significant bit first."""

    def __init__(self, data):
        self.value = int.from_bytes(data, "little")

    def take(self, count):
        value = self.value & ((1 << count) - 1)
        self.value >>= count
        return value

    def chosen(self, *kinds):
        offset, count = kinds[self.take(2)]
        return offset + self.take(count)


def transfer(stream):
    """Transfer function of a grey or RGB picture without extra channels."""
    bits = Bits(stream[2:200])
    sizes = ((1, 9), (1, 13), (1, 18), (1, 30))
    if bits.take(1):
        bits.take(5)
        if not bits.take(3):
            bits.take(5)
    else:
        bits.chosen(*sizes)
        if not bits.take(3):
            bits.chosen(*sizes)
    if bits.take(1):
        return 13  # everything is the default
    if bits.take(1):
        raise SystemExit("a header with further fields")
    assert bits.take(1) == 0  # integers
    print("bits of a sample:", bits.chosen((8, 0), (10, 0), (12, 0), (1, 6)))
    bits.take(1)
    assert bits.chosen((0, 0), (1, 0), (2, 4), (1, 12)) == 0
    bits.take(1)
    if bits.take(1):
        return 13  # the default colours
    enumerated = ((0, 0), (1, 0), (2, 4), (18, 6))
    assert bits.take(1) == 0  # no profile
    space = bits.chosen(*enumerated)
    bits.chosen(*enumerated)  # white
    if space != 1:
        bits.chosen(*enumerated)  # primaries
    assert bits.take(1) == 0
    return bits.chosen(*enumerated)


for dtype in ("u1", "u2"):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3)).astype(dtype)
    stream = imagecodecs.jpegxl_encode(pixels, lossless=True, usecontainer=True)
    stream = stream[stream.index(b"jxlc") + 4 :]
    print(pixels.dtype, "transfer function", transfer(stream), "(8 linear, 13 sRGB)")
PYTHON
"$work/venv/bin/python" "$work/run.py" | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
bits of a sample: 8
uint8 transfer function 13 (8 linear, 13 sRGB)
bits of a sample: 16
uint16 transfer function 8 (8 linear, 13 sRGB)
EXPECTED
