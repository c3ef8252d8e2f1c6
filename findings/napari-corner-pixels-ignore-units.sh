#!/usr/bin/env bash
# napari 0.9.2: layer.corner_pixels, the visible part of a layer, is computed as if the viewer had the units of the layer.
# Beside a layer with finer units, a layer in millimetres has wrong corner_pixels, and a multiscale layer in millimetres is
# displayed at its coarsest level at any zoom.
#
# Expected before running: two layers of 0.4 mm, one with its scale in millimetres and one in micrometres, coincide on the
# canvas. Both therefore have the same corner_pixels, and a multiscale layer in millimetres is read at the same level with
# and without the other layer.
# Observed: the viewer uses micrometres and draws both layers in the same place, but corner_pixels of the layer in
# millimetres is a single pixel at its far corner. The multiscale layer is read at level 0 (558 x 472 visible pixels) while
# it is alone, and at level 2 (all of its 250 x 250 pixels) at the same zoom beside a layer in micrometres, visible or not.
# What we do: the visible part of a layer is computed from the corners of the canvas and the units of the layer.
#
# Requires xvfb-run and OpenGL (Mesa's software renderer is sufficient).
#
# Output:
#   plain layers at 4 times: micrometer, rows on screen of the one in um 130 to 270: True
#   corner_pixels of the one in mm, in the same place: [[399, 399], [399, 399]]
#   multiscale layer in mm at 8 times, alone: level 0
#   multiscale layer in mm at 8 times, beside a layer in um: level 2
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "napari[pyqt6]==0.9.2"
cat > "$work/run.py" <<'PYTHON'
import os
import sys
import time

os.environ["NAPARI_CONFIG"] = os.path.join(sys.argv[1], "settings.yaml")
import napari
import numpy as np
from qtpy.QtWidgets import QApplication

MM = {"scale": (0.001, 0.001), "units": ("mm", "mm")}
UM = {"scale": (1, 1), "units": ("um", "um")}


def drawn():
    end = time.time() + 1
    while time.time() < end:
        QApplication.processEvents()
        time.sleep(0.01)


def zoom_in(times):
    drawn()
    viewer.reset_view()
    drawn()
    viewer.scene.camera.zoom *= times
    drawn()


viewer = napari.Viewer()
viewer.window.resize(1000, 800)
picture = np.zeros((400, 400), np.uint8)
mm, um = viewer.add_image(picture, **MM), viewer.add_image(picture, **UM)
zoom_in(4)
(first, _), (last, _) = um.corner_pixels
print(f"plain layers at 4 times: {viewer.dims.units[0]}, rows on screen of the one in um 130 to 270: {bool(130 < first < last < 270)}")
print(f"corner_pixels of the one in mm, in the same place: {mm.corner_pixels.tolist()}")
viewer.layers.remove(um)
drawn()
viewer.layers.remove(mm)
drawn()
large = np.zeros((4000, 4000), np.uint8)
levels = viewer.add_image([large, large[::4, ::4], large[::16, ::16]], multiscale=True, **MM)
zoom_in(8)
print(f"multiscale layer in mm at 8 times, alone: level {levels.data_level}")
viewer.add_image(large, **UM)
zoom_in(8)
print(f"multiscale layer in mm at 8 times, beside a layer in um: level {levels.data_level}")
viewer.close()
PYTHON
xvfb-run -a -s "-screen 0 1600x1200x24" "$work/venv/bin/python" "$work/run.py" "$work" 2> "$work/log" | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
plain layers at 4 times: micrometer, rows on screen of the one in um 130 to 270: True
corner_pixels of the one in mm, in the same place: [[399, 399], [399, 399]]
multiscale layer in mm at 8 times, alone: level 0
multiscale layer in mm at 8 times, beside a layer in um: level 2
EXPECTED
