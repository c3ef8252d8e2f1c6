"""The shell: files, folders, messages, a killed run."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image as PILImage

import napari_dcr
from napari_dcr.cli import main
from napari_dcr.io import formats

FAST = ("--depth", "0", "--device", "cpu", "-q")


@pytest.fixture
def folder(tmp_path: Path, dim_rgb: NDArray[np.uint8]) -> Path:
    """A folder with pictures, one below, and something else."""
    source = tmp_path / "in"
    (source / "deeper").mkdir(parents=True)
    PILImage.fromarray(dim_rgb).save(source / "a.png")
    PILImage.fromarray(dim_rgb).save(source / "b.JPG")
    tifffile.imwrite(source / "deeper" / "c.tif", dim_rgb[..., 0].astype(np.uint16) * 20)
    (source / "notes.txt").write_text("not an image")
    return source


def test_one_file(folder: Path, tmp_path: Path, dim_rgb: NDArray[np.uint8]) -> None:
    out = tmp_path / "bright.png"
    assert main(["enhance", str(folder / "a.png"), "-o", str(out), *FAST]) == 0
    expected = napari_dcr.enhance(dim_rgb, depth=0, device="cpu")
    assert (np.asarray(PILImage.open(out)) == expected).all()


def test_a_whole_folder_keeps_its_shape(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["enhance", str(folder), "-o", str(out), *FAST]) == 0
    names = {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()}
    assert names == {"a.png", "b.JPG", "deeper/c.tif"}
    assert tifffile.imread(out / "deeper" / "c.tif").dtype == np.uint16


def test_options_reach_enhance(folder: Path, tmp_path: Path, dim_rgb: NDArray[np.uint8]) -> None:
    out = tmp_path / "x.tif"
    command = [
        "enhance", str(folder / "a.png"), "-o", str(out), "--depth", "1", "--no-detail",
        "--strength", "0.5", "--exposure", "-1", "--output", "float32", "--input-range", "0,200",
        "--tile", "64", "--precision", "fp32", "--device", "cpu",
    ]  # fmt: skip
    assert main(command) == 0
    expected = napari_dcr.enhance(
        dim_rgb, depth=1, detail=False, strength=0.5, exposure=-1.0, output="float32",
        input_range=(0, 200), tile=64, precision="fp32", device="cpu",
    )  # fmt: skip
    assert np.array_equal(tifffile.imread(out), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.png", "-o", "out.png"], "nowhere.png does not exist"),
        (["a.png", "-o", "a.png"], "is the input file itself"),
        (["a.png", "-o", "taken.png"], "exists; give --overwrite"),
        (["a.png", "deeper/a.png", "-o", "out"], "would both be written to"),
        (["deeper", "-o", "out", "--strength", "3"], "strength: got 3.0; allowed are numbers"),
        (["a.png", "-o", "out.jpg", "--output", "uint16"], "holds uint8, not uint16"),
        (["empty", "-o", "out"], "no .tif, .tiff, .png"),
        (["a.png", "-o", "out.xyz/"], None),
    ],
)
def test_mistakes_are_named_and_cost_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    dim_rgb: NDArray[np.uint8],
    arguments: list[str],
    message: str | None,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("deeper", "empty"):
        Path(name).mkdir()
    for name in ("a.png", "taken.png", "deeper/a.png"):
        PILImage.fromarray(dim_rgb).save(name)
    before = {p: p.read_bytes() for p in Path().rglob("*.png")}
    status = main(["enhance", *arguments, *FAST])
    if message is None:
        assert status == 0
        return
    assert status == 1
    assert message in capsys.readouterr().err
    assert {p: p.read_bytes() for p in Path().rglob("*.*") if p.is_file()} == before


def test_a_damaged_file_does_not_stop_the_others(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "a.png").write_bytes(b"damaged")
    out = tmp_path / "out"
    assert main(["enhance", str(folder), "-o", str(out), *FAST]) == 1
    assert {p.name for p in out.rglob("*") if p.is_file()} == {"b.JPG", "c.tif"}
    error = capsys.readouterr().err
    assert "a.png: cannot be read" in error
    assert "1 of 3 files failed" in error


def test_info_tells_devices_weights_and_versions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    for word in (napari_dcr.__version__, "torch", "cpu", "photo", "sha256"):
        assert word in out


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_leaves_no_half_file(tmp_path: Path, sign: signal.Signals) -> None:
    rng = np.random.default_rng(0)
    # Large enough not to be done before the signal where the machine is busy.
    tifffile.imwrite(tmp_path / "in.tif", rng.integers(0, 40, (6000, 6000, 3), np.uint8))
    out = tmp_path / "out" / "in.tif"
    process = subprocess.Popen(
        [sys.executable, "-m", "napari_dcr.cli", "enhance", str(tmp_path / "in.tif"), "-o", str(out), "--tile", "256"],
        stderr=subprocess.PIPE, text=True,
        # Shells let what they start in the background ignore the interrupt.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stderr is not None
    text = ""
    while "%" not in text.replace("  0%", ""):  # until the bar has moved
        text += process.stderr.read(1)
        assert process.poll() is None, text
    process.send_signal(sign)
    process.wait(30)
    process.stderr.close()
    assert process.returncode != 0
    time.sleep(0.1)
    assert not out.exists()
    assert not out.parent.exists() or not [
        p for p in out.parent.iterdir() if "partial" not in p.name
    ]


def test_zarr_and_large_tiffs_go_tile_by_tile(
    tmp_path: Path, dim_rgb: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    grey = dim_rgb[..., 0].astype(np.uint16) * 20
    expected = napari_dcr.enhance(grey, depth=0, device="cpu")
    tifffile.imwrite(tmp_path / "in.tif", grey, metadata=None, description="lens cap on")

    def run(*arguments: str) -> int:
        return main(["enhance", *(str(tmp_path / a) if "." in a else a for a in arguments), *FAST])

    assert run("in.tif", "-o", "out.ome.zarr") == 0
    assert (zarr.open(tmp_path / "out.ome.zarr")["0"][...] == expected).all()
    assert run("in.tif", "-o", "out.ome.zarr") == 1
    assert run("in.tif", "-o", "out.ome.zarr", "--resume") == 0
    assert run("in.tif", "-o", "x.tif", "--resume") == 1
    assert run("out.ome.zarr", "-o", "again.zarr") == 0
    assert zarr.open(tmp_path / "again.zarr")["0"].shape == grey.shape
    monkeypatch.setattr(formats, "is_large", lambda _: True)
    assert run("in.tif", "-o", "large.tif") == 0
    with tifffile.TiffFile(tmp_path / "large.tif") as file:
        assert (file.asarray() == expected).all()
        assert file.pages.first.description == "lens cap on"
        assert file.is_bigtiff
