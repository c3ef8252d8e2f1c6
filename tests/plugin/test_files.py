"""The window that enhances files: outcomes, settings, cancelling."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image as PILImage

import napari_dcr
from napari_dcr.engine import runner
from napari_dcr.plugin.commands import enhance_files
from napari_dcr.plugin.files import FilesWindow
from napari_dcr.plugin.widget import EnhanceWidget
from tests.io.instruments import write_lif

pytestmark = pytest.mark.gui


@pytest.fixture
def window(widget: EnhanceWidget, tmp_path: Path) -> FilesWindow:
    """The window, with a folder to save in; the widget is set to depth 0."""
    widget.controls.depth.value = 0
    found = widget.show_files()
    found.folder.setText(str(tmp_path / "out"))
    return found


def finish(window: FilesWindow, qtbot: Any) -> None:
    window.start()
    qtbot.waitUntil(lambda: not window.running, timeout=120_000)


def outcomes(window: FilesWindow) -> dict[str, str]:
    rows = [window.list.topLevelItem(n) for n in range(window.list.topLevelItemCount())]
    return {row.text(0): row.text(1) for row in rows}


def test_files_and_folders_get_a_line_each(
    window: FilesWindow, qtbot: Any, tmp_path: Path, dim_rgb: NDArray[np.uint8]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    PILImage.fromarray(dim_rgb).save(folder / "a.png")
    (folder / "b.png").write_bytes(b"damaged")
    (folder / "._c.png").write_bytes(b"hidden")
    tifffile.imwrite(tmp_path / "d.tif", dim_rgb[..., 0])
    assert not window.run.isEnabled()
    window.add([str(folder), str(tmp_path / "d.tif")])
    assert outcomes(window) == {"in": "folder", "d.tif": ""}
    assert "depth 0" in window.settings.text()
    assert window.run.isEnabled()
    finish(window, qtbot)
    lines = outcomes(window)
    assert list(lines) == ["a.png", "b.png", "d.tif", "._c.png"]
    assert lines["a.png"].startswith("Done in ")
    assert lines["b.png"].startswith("Failed: cannot be read as an image")
    assert lines["._c.png"] == "is hidden; it is left out"
    assert window.status.text().startswith("2 of 3 done, 1 failed, in ")
    expected = napari_dcr.enhance(dim_rgb, depth=0, device="cpu")
    assert np.array_equal(np.asarray(PILImage.open(tmp_path / "out" / "a.png")), expected)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.png", "d.tif"]
    # Once more: what exists is replaced only if that is asked for, in the words of the window.
    finish(window, qtbot)
    assert "exists; tick 'Replace results that exist'" in window.status.text()
    assert "--" not in window.status.text()
    window.replace.setChecked(True)
    finish(window, qtbot)
    assert window.status.text().startswith("2 of 3 done, 1 failed")


def test_missing_files_have_an_outcome_and_refusals_leave_none(
    window: FilesWindow, qtbot: Any, tmp_path: Path, dim_rgb: NDArray[np.uint8]
) -> None:
    PILImage.fromarray(dim_rgb).save(tmp_path / "a.png")
    window.add([str(tmp_path / "none.png"), str(tmp_path / "a.png")])
    finish(window, qtbot)
    lines = outcomes(window)
    assert lines["none.png"] == "Failed: does not exist"
    assert lines["a.png"].startswith("Done in ")
    assert window.status.text().startswith("1 of 2 done, 1 failed, in ")
    finish(window, qtbot)  # the result exists
    assert "exists; tick" in window.status.text()
    assert outcomes(window) == {"none.png": "", "a.png": ""}
    assert window.bar.value() == 0


@pytest.mark.parametrize("given", ["~/res", "res", " res "])
def test_the_folder_of_the_results_is_named(
    window: FilesWindow, qtbot: Any, tmp_path: Path, dim_rgb: NDArray[np.uint8],
    monkeypatch: pytest.MonkeyPatch, given: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    PILImage.fromarray(dim_rgb).save(tmp_path / "a.png")
    window.folder.setText(given)
    window.add([str(tmp_path / "a.png")])
    finish(window, qtbot)
    assert (tmp_path / "res" / "a.png").exists()
    assert window.status.text().endswith(f" Results are in {tmp_path / 'res'}.")


def test_settings_are_those_of_the_widget(
    window: FilesWindow, widget: EnhanceWidget, qtbot: Any, tmp_path: Path,
    dim_rgb: NDArray[np.uint8],
) -> None:  # fmt: skip
    PILImage.fromarray(dim_rgb).save(tmp_path / "a.png")
    widget.controls.strength.value = 0.5
    widget.controls.output.value = "float32"
    window.add([str(tmp_path / "a.png")])
    finish(window, qtbot)
    assert outcomes(window)["a.png"].startswith("Failed: ")  # PNG holds no floats
    widget.controls.output.value = "same"
    finish(window, qtbot)
    expected = napari_dcr.enhance(dim_rgb, depth=0, strength=0.5, device="cpu")
    assert np.array_equal(np.asarray(PILImage.open(tmp_path / "out" / "a.png")), expected)


def test_a_scene_of_files_that_hold_several(
    window: FilesWindow, qtbot: Any, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).poisson(40, (2, 40, 56)).astype(np.uint8)
    images = [{"name": n, "pixels": p, "dims": "YX", "steps": {}} for n, p in zip("ab", pixels, strict=True)]  # fmt: skip
    window.add([str(write_lif(tmp_path / "two.lif", images))])
    finish(window, qtbot)
    assert "choose one by scene: 0 (a), 1 (b)" in outcomes(window)["two.lif"]
    window.scene.setText("b")
    finish(window, qtbot)
    assert outcomes(window)["two.lif"].startswith("Done in ")
    assert tifffile.imread(tmp_path / "out" / "two.ome.tif").shape == (40, 56)


def test_all_as_one_recording(window: FilesWindow, qtbot: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = [rng.poisson(light, (64, 64)).astype(np.uint8) for light in (20, 60)]
    for number, frame in enumerate(frames):
        tifffile.imwrite(tmp_path / f"{number}.tif", frame)
    window.add([str(tmp_path / f"{n}.tif") for n in (0, 1)])
    window.as_one.setChecked(True)
    finish(window, qtbot)
    assert list(outcomes(window)) == ["0.tif and 1 more"]
    expected = napari_dcr.enhance(np.stack(frames), axes="tyx", depth=0, device="cpu")
    for number in (0, 1):
        assert np.array_equal(tifffile.imread(tmp_path / "out" / f"{number}.tif"), expected[number])


@pytest.mark.parametrize("suffix", ["tif", "zarr"])
def test_cancelled_files_leave_no_unfinished_results(
    window: FilesWindow, widget: EnhanceWidget, qtbot: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, suffix: str,
) -> None:  # fmt: skip
    import zarr

    widget.controls.tile.value = 256  # many tiles
    compute = runner.TileRunner._run_tiles

    def slowly(self: runner.TileRunner, *arguments: Any) -> Any:
        time.sleep(0.4)  # so that the window hears of it before the last tile
        return compute(self, *arguments)

    monkeypatch.setattr(runner.TileRunner, "_run_tiles", slowly)
    pixels = np.random.default_rng(0).integers(0, 40, (900, 1000), np.uint8)
    for name in ("a", "b"):
        if suffix == "zarr":
            zarr.save(str(tmp_path / f"{name}.zarr"), pixels)
        else:
            tifffile.imwrite(tmp_path / f"{name}.tif", pixels)
    window.add([str(tmp_path / f"{name}.{suffix}") for name in "ab"])
    window.start()
    qtbot.waitUntil(lambda: window.bar.value() > 0, timeout=120_000)
    window.stop()
    assert not window.cancel.isEnabled()
    qtbot.waitUntil(lambda: not window.running, timeout=120_000)
    assert list(outcomes(window).values()) == ["Cancelled", "Cancelled"]
    assert window.status.text().startswith("0 of 2 done, cancelled")
    assert not (tmp_path / "out").exists()


def test_files_finished_during_the_cancellation_are_counted(
    window: FilesWindow, qtbot: Any, tmp_path: Path, dim_rgb: NDArray[np.uint8]
) -> None:
    for name in ("a", "b"):
        PILImage.fromarray(dim_rgb).save(tmp_path / f"{name}.png")
    window.add([str(tmp_path / f"{name}.png") for name in "ab"])
    window.start()
    # Simulate a window that is too busy to process events before it is closed.
    qtbot.waitUntil(lambda: window._batch is not None, timeout=120_000)
    deadline = time.monotonic() + 60
    while not (tmp_path / "out" / "a.png").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    window.stop()
    qtbot.waitUntil(lambda: not window.running, timeout=120_000)
    done = sorted(p.stem for p in (tmp_path / "out").iterdir())
    reported = [Path(n).stem for n, text in outcomes(window).items() if text.startswith("Done in")]
    assert reported == done
    assert window.status.text().startswith(f"{len(done)} of 2 done")


def test_the_command_shows_one_window(viewer: Any, widget: EnhanceWidget) -> None:
    enhance_files()
    window = widget._files_window
    assert window is not None
    assert window.isVisible()
    window.close()
    enhance_files()
    assert widget._files_window is window
    assert window.isVisible()
