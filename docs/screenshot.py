"""Create the documentation's pictures of the napari window.

    xvfb-run -a -s "-screen 0 1600x1200x24" python docs/screenshot.py [PART ...]

Parts are photograph, detail, stages, measured, large and widget; all of them if none is named.
``window.png`` belongs to the README, all others to the user guide.  The script also cancels a run, and
fails if this leaves a layer behind.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from PIL import Image

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
from window import WIDGET, clear, open_viewer, pause, run, settle, wait

import napari_dcr
from napari_dcr.io import opening
from napari_dcr.plugin.samples import nuclei
from napari_dcr.training.forward.instruments import Emccd
from napari_dcr.training.forward.structures import synthetic_scene
from napari_dcr.training.forward.synthetic import dim_rendition

IMAGES = Path(__file__).parent / "images"

SIDE = 8192
"""Side of the large picture in pixels."""

DETAIL = np.s_[189:269, 146:246]
"""Part of the photograph that shows the detail module."""

COLOURS = 256
"""Number of colours of a picture; enough for a window, and half of the file size."""


def save(picture: Image.Image, name: str) -> None:
    """Save a picture with few colours, which makes the file smaller."""
    IMAGES.mkdir(exist_ok=True)
    few = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.FLOYDSTEINBERG)
    few.save(IMAGES / name, optimize=True)
    print(IMAGES / name, picture.size)


def take(viewer: Any, widget: Any, name: str) -> None:
    """Take a picture of the window, without the time that the run took."""
    widget.status.value = "" if widget.status.value.startswith("Done") else widget.status.value
    pause()
    save(Image.fromarray(viewer.screenshot(canvas_only=False, flash=False)), name)


def take_widget(dock: Any, widget: Any, width: int, name: str) -> None:
    """Take a picture of the widget only, at this width, with all controls unfolded."""
    dock.setFloating(True)
    pause()
    dock.resize(width, widget.native.sizeHint().height() + 60)
    pause()
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        dock.grab().save(file.name)
        save(Image.open(file.name), name)
    dock.setFloating(False)


def photograph(viewer: Any, widget: Any) -> None:
    """Show preview, a cancelled run, a run, and the comparison."""
    viewer.open_sample(WIDGET[0], "earth-at-night")
    pause()
    widget.preview.value = True
    settle(widget)
    widget.compare.value = True
    take(viewer, widget, "preview.png")
    widget.compare.value = False
    pause()
    widget.preview.value = False
    widget.run.native.click()
    wait(lambda: widget.running)
    widget.cancel.native.click()
    wait(lambda: not widget.running)
    if widget.status.value != "Cancelled." or len(viewer.layers) != 1:
        raise SystemExit("a cancelled run left something behind")
    run(widget)
    if len(viewer.layers) != 2:
        raise SystemExit("the run gave no layer")
    grid = viewer.canvas.grid
    grid.enabled = True
    grid.shape = (2, 1)
    viewer.reset_view()
    take(viewer, widget, "window.png")
    grid.enabled = False
    animate(viewer, widget)
    clear(viewer)


def animate(viewer: Any, widget: Any) -> None:
    """Animate the divider of the comparison."""
    there = np.linspace(0.05, 0.95, 10)
    frames = []
    viewer.reset_view()
    widget.compare.value = True
    for share in np.concatenate([there, there[::-1]]):
        widget.divider.value = float(share)
        pause(0.1)
        frame = Image.fromarray(viewer.screenshot(flash=False)).convert("RGB")
        rows = np.flatnonzero(np.asarray(frame).any(axis=(1, 2)))
        frame = frame.crop((0, rows[0], frame.width, rows[-1] + 1))
        frame.thumbnail((480, 480))
        frames.append(frame.quantize(64, dither=Image.Dither.NONE))
    widget.compare.value = False
    frames[0].save(
        IMAGES / "compare.gif", save_all=True, append_images=frames[1:], duration=120, loop=0
    )
    print(IMAGES / "compare.gif", frames[0].size)


def detail() -> None:
    """Show part of a dim photograph without and with the detail module, and the true picture."""
    clean = opening.read(Path(__file__).parents[1] / "scripts" / "data" / "kodak-23.png").pixels
    dim, truth = (
        np.round(255 * picture).astype(np.uint8)
        for picture in dim_rendition((clean / 255).astype(np.float32), ev=4, seed=23)
    )
    results = (napari_dcr.enhance(dim, detail=on) for on in (False, True))
    parts = [picture[DETAIL] for picture in (*results, truth)]
    gap = np.full((parts[0].shape[0], 2, 3), 255, np.uint8)
    row = np.concatenate([parts[0], gap, parts[1], gap, parts[2]], 1)
    enlarged = Image.fromarray(row).resize((3 * row.shape[1], 3 * row.shape[0]), 0)
    enlarged.save(IMAGES / "detail.png", optimize=True)  # few colours would look like grain
    print(IMAGES / "detail.png", enlarged.size)


def stages(viewer: Any, widget: Any) -> None:
    """Show what each sub-U-Net adds to a slice of a stack."""
    ((cells, _, _),) = nuclei()
    drifting = np.stack([cells[8 * t :][:460, 20 * t :][:, :580] for t in range(6)])
    viewer.add_image(drifting, name="Nuclei", axis_labels=("t", "y", "x"), contrast_limits=(0, 255))
    viewer.dims.set_current_step(0, 3)
    pause()
    widget.controls.extent.value = "slice"
    widget.stages.native.click()
    wait(lambda: not widget.running)
    viewer.dims.set_current_step(0, 2)
    take(viewer, widget, "stages.png")
    widget.controls.extent.value = "all"
    clear(viewer)


def measured(viewer: Any, widget: Any) -> None:
    """Show a recording at 30 photons, its result and the residual side by side."""
    rng = np.random.default_rng(4)
    camera = Emccd()
    cells = camera.expose(30 * (synthetic_scene(512, rng) + 0.05), rng).astype(np.uint16)
    low, high = (float(q) for q in np.quantile(cells, [0.01, 0.999]))
    viewer.add_image(cells, name="recording", contrast_limits=(low, high))
    controls = widget.controls
    controls.model.value = "microscopy"
    controls.residual.value = True
    run(widget)
    for layer in viewer.layers:
        layer.visible = True
    grid = viewer.canvas.grid
    grid.enabled = True
    grid.shape = (1, 3)
    viewer.reset_view()
    take(viewer, widget, "measured.png")
    grid.enabled = False
    controls.residual.value = False
    controls.model.value = "auto"
    clear(viewer)


def pictures_of_widget(viewer: Any, widget: Any, dock: Any) -> None:
    """Take pictures of the widget in both themes and two widths."""
    from napari.settings import get_settings

    viewer.open_sample(WIDGET[0], "nuclei")
    widget.controls.advanced.show(True)
    for theme in ("dark", "light"):
        get_settings().appearance.theme = theme
        for width in (350, 500):
            take_widget(dock, widget, width, f"widget-{theme}-{width}.png")
    get_settings().appearance.theme = "dark"
    widget.controls.advanced.show(False)
    clear(viewer)


def large(viewer: Any, widget: Any) -> None:
    """Enhance the visible part of a zarr with levels."""
    ((cells, _, _),) = nuclei()
    # Mirror the picture repeatedly at its borders, so that it has no seams.
    slide = np.pad(cells, [(0, SIDE - n) for n in cells.shape], mode="symmetric")
    with tempfile.TemporaryDirectory() as folder:
        levels = []
        for zoom in (1, 2, 4, 8, 16):
            path = f"{folder}/{zoom}.zarr"
            da.from_array(slide[::zoom, ::zoom], chunks=1024).to_zarr(path)
            levels.append(da.from_zarr(path))
        viewer.add_image(levels, name="slide", contrast_limits=(0, 255), multiscale=True)
        viewer.reset_view()
        viewer.scene.camera.zoom *= 8
        pause()
        widget.controls.extent.value = "view"
        run(widget)
        widget.divider.value = 0.5
        widget.compare.value = True
        take(viewer, widget, "large.png")
        widget.compare.value = False
        widget.controls.extent.value = "all"
        clear(viewer)


def main() -> None:
    """Write into ``docs/images``."""
    viewer = open_viewer()
    dock, widget = viewer.window.add_plugin_dock_widget(*WIDGET)
    wait(lambda: len(widget.controls.device.choices) > 1)
    parts: dict[str, Callable[[], None]] = {
        "photograph": lambda: photograph(viewer, widget),
        "detail": detail,
        "stages": lambda: stages(viewer, widget),
        "measured": lambda: measured(viewer, widget),
        "large": lambda: large(viewer, widget),
        "widget": lambda: pictures_of_widget(viewer, widget, dock),
    }
    for part in sys.argv[1:] or parts:
        parts[part]()
    viewer.close()


if __name__ == "__main__":
    main()
