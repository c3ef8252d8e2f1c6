"""The shell: files, folders, messages, a killed run."""

from __future__ import annotations

import json
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image as PILImage

import napari_dcr
from napari_dcr.cli import console, info, main
from napari_dcr.cli.arguments import parser
from napari_dcr.engine.runner import TileRunner
from napari_dcr.engine.sources import Opened
from napari_dcr.io import opening

ON_POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals and terminals of POSIX")

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


def test_results_keep_the_structure_of_a_folder(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["enhance", str(folder), "-o", str(out), *FAST]) == 0
    names = {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()}
    assert names == {"a.png", "b.JPG", "deeper/c.tif"}
    assert tifffile.imread(out / "deeper" / "c.tif").dtype == np.uint16


def test_options_reach_enhance(folder: Path, tmp_path: Path, dim_rgb: NDArray[np.uint8]) -> None:
    out = tmp_path / "x.tif"
    command = [
        "enhance", str(folder / "a.png"), "-o", str(out), "--depth", "1", "--no-detail",
        "--strength", "0.5", "--exposure", "-1", "--denoise", "0.6",
        "--denoise-colour", "0.9", "--saturation", "1.2", "--output", "float32", "--input-range", "0,200",
        "--tile", "64", "--precision", "fp32", "--device", "cpu",
    ]  # fmt: skip
    assert main(command) == 0
    expected = napari_dcr.enhance(
        dim_rgb, depth=1, detail=False, strength=0.5, exposure=-1.0, denoise=0.6,
        denoise_colour=0.9, saturation=1.2, output="float32", input_range=(0, 200), tile=64, precision="fp32", device="cpu",
    )  # fmt: skip
    assert np.array_equal(tifffile.imread(out), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.png", "-o", "out.png"], "nowhere.png does not exist"),
        (["a.png", "-o", "a.png"], "is the input file itself"),
        (["a.png", "-o", "taken.png"], "exists; add --overwrite"),
        (["a.png", "deeper/a.png", "-o", "out"], "would both be written to"),
        (["deeper", "-o", "out", "--strength", "3"], "strength: got 3.0; allowed are numbers"),
        (["a.png", "-o", "out.jpg", "--output", "uint16"], "holds uint8, not uint16"),
        (["empty", "-o", "out"], "no .tif, .tiff, .png"),
        (["a.png", "-o", "out.xyz/"], None),
    ],
)
def test_mistakes_are_named_before_anything_is_computed(
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
    assert error.count("a.png: cannot be read") == 1  # at once, and then in the table at the end
    table = error.splitlines()[-2:]
    assert table[0] == "napari-dcr: 1 of 3 files failed:"
    assert table[1].split()[:4] == [str(folder / "a.png"), "cannot", "be", "read"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KeyError("0"), "KeyError: '0'"),
        (RuntimeError("two\nlines"), "RuntimeError: two lines"),
        (AssertionError(), "AssertionError"),
        (ValueError(), "ValueError"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
    ],
)
def test_an_unexpected_error_of_a_file_does_not_stop_the_others(
    error: Exception,
    message: str,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = opening.open_whole

    def read(path: Path, scene: int | str | None = None) -> Opened:
        if path.name == "a.png":
            raise error
        return whole(path, scene)

    monkeypatch.setattr(opening, "open_whole", read)
    out = tmp_path / "out"
    assert main(["enhance", str(folder), "-o", str(out), *FAST]) == 1
    assert {p.name for p in out.rglob("*") if p.is_file()} == {"b.JPG", "c.tif"}
    error_output = capsys.readouterr().err
    assert error_output.count(message) == 2  # at once, and then in the table at the end
    count, row = error_output.splitlines()[-2:]
    assert count == "napari-dcr: 1 of 3 files failed:"
    assert row.split(None, 1) == [str(folder / "a.png"), message]


def test_records_of_all_files_on_standard_output(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "a.png").write_bytes(b"damaged")
    command = ["enhance", str(folder), "-o", str(tmp_path / "out"), "--json", *FAST]
    assert main([*command, "--report", str(tmp_path / "report.json")]) == 1
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(record["input"]).name for record in records] == ["a.png", "b.JPG", "c.tif"]
    assert "cannot be read" in records[0]["error"]
    assert records[1]["depth"] == 0
    assert json.loads((tmp_path / "report.json").read_text()) == records


def test_a_log_has_a_progress_line_at_intervals(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    command = ["enhance", str(folder / "a.png"), "-o", str(tmp_path / "out/"), *FAST[:-1]]
    assert main([*command, "--overwrite"]) == 0
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "\r" not in error
    monkeypatch.setattr(console, "LINE_AFTER", 0.0)
    assert main([*command, "--overwrite", "--tile", "64"]) == 0
    error = capsys.readouterr().err
    assert "napari-dcr: a.png: 100 %, 0 s left; " in error
    assert "\r" not in error
    assert main([*command, "--overwrite", "-q"]) == 0
    assert capsys.readouterr().err == ""


def test_info_tells_devices_weights_and_versions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    for word in (napari_dcr.__version__, "torch", "cpu", "photo", "sha256", platform.machine()):
        assert word in out


def test_info_names_the_packages_of_each_extra_and_those_that_are_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"tifffile": "2026.1", "napari": "0.9"}
    needs = ["tifffile>=2024", "zarr>=3; extra == 'zarr'", 'napari-dcr[zarr]; extra == "all"']

    def version(name: str) -> str:
        if name not in found:
            raise PackageNotFoundError(name)
        return found[name]

    monkeypatch.setattr(info, "requires", lambda name: needs)
    monkeypatch.setattr(info, "version", lambda name: "2.4" if name == "numpy" else version(name))
    assert main(["info"]) == 0
    lines = capsys.readouterr().out.partition("packages:\n")[2].splitlines()
    assert lines == ["  always: tifffile 2026.1", "  zarr: zarr is missing", "  window: napari 0.9"]


def test_info_names_neither_user_nor_computer_nor_paths(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER", "someuser")
    monkeypatch.setenv("HOME", "/home/someuser")
    monkeypatch.setattr(socket, "gethostname", lambda: "somehost")
    monkeypatch.setattr(platform, "node", lambda: "somehost")
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"/\w|\\", out) is None  # a path
    assert "someuser" not in out
    assert "somehost" not in out


@ON_POSIX
@pytest.mark.slow
@pytest.mark.parametrize("sign", ["SIGKILL", "SIGINT"])
def test_a_killed_run_leaves_no_half_file(tmp_path: Path, sign: str) -> None:
    import pty
    import termios

    rng = np.random.default_rng(0)
    # Not done before the signal where the machine is busy: windows are ten times as large as tiles.
    tifffile.imwrite(tmp_path / "in.tif", rng.integers(0, 40, (3000, 3000, 3), np.uint8))
    out = tmp_path / "out" / "in.tif"
    terminal, its_end = pty.openpty()
    termios.tcsetwinsize(its_end, (24, 100))
    process = subprocess.Popen(
        [sys.executable, "-m", "napari_dcr.cli", "enhance", str(tmp_path / "in.tif"), "-o", str(out), "--tile", "64"],
        stderr=its_end,
        # Shells let what they start in the background ignore the interrupt.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    os.close(its_end)
    text = ""
    while "%" not in text.replace("  0%", ""):  # until the bar has moved
        text += os.read(terminal, 1).decode("latin1")
        assert process.poll() is None, text
    process.send_signal(getattr(signal, sign))
    process.wait(30)
    os.close(terminal)
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
    monkeypatch.setattr(opening, "is_large", lambda *_: True)
    assert run("in.tif", "-o", "large.tif") == 0
    with tifffile.TiffFile(tmp_path / "large.tif") as file:
        assert (file.asarray() == expected).all()
        assert file.pages.first.description == "lens cap on"
        assert file.is_bigtiff


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """A fluorescence image of two channels."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:128, :128]
    light = np.stack([100 + 60 * np.sin(y / 9) * np.cos(x / 13), 130 + 20 * np.cos(y / 9 + x / 20)])
    path = tmp_path / "cells.tif"
    tifffile.imwrite(
        path,
        rng.poisson(light).astype(np.uint16),
        photometric="minisblack",
        metadata={"axes": "CYX"},
    )
    return path


def test_microscopy_prints_a_verdict_for_each_channel(
    cells: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = cells.parent
    command = [
        "enhance", str(cells), "-o", str(folder / "o.tif"), "--model", "microscopy", "--depth", "1",
        "--device", "cpu", "--report", str(folder / "report.json"),
        "--residual", str(folder / "residual.tif"), "--uncertainty", str(folder / "error.tif"),
    ]  # fmt: skip
    assert main(command) == 0
    error = capsys.readouterr().err
    assert "axes cyx" in error
    result, report, residual, uncertainty = napari_dcr.enhance(
        tifffile.imread(cells), axes="cyx", model="microscopy", depth=1, device="cpu",
        return_report=True, return_residual=True, return_uncertainty=True,
    )  # fmt: skip
    for channel in (1, 2):
        assert f"cells.tif channel {channel}: intensities kept (slope" in error
    assert np.array_equal(tifffile.imread(folder / "o.tif"), result)
    assert np.array_equal(tifffile.imread(folder / "residual.tif"), residual)
    assert np.array_equal(tifffile.imread(folder / "error.tif"), uncertainty)
    with tifffile.TiffFile(folder / "residual.tif") as file:
        assert file.series[0].axes == "CYX"
    ((entry),) = json.loads((folder / "report.json").read_text())
    assert entry["input"] == str(cells)
    assert entry["axes"] == "cyx"
    assert [r["slope"] for r in entry["reports"]] == [r.slope for r in report]
    assert entry["model"] == "microscopy"


def test_warnings_of_a_channel_are_shown(cells: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = tifffile.imread(cells)
    pixels[1] = 65535
    tifffile.imwrite(cells, pixels, photometric="minisblack", metadata={"axes": "CYX"})
    command = [
        "enhance",
        str(cells),
        "-o",
        str(cells.parent / "o.tif"),
        "--model",
        "microscopy",
        *FAST,
    ]
    assert main(command) == 0
    error = capsys.readouterr().err
    assert "warning: channel 2/2" in error
    assert error.count("channel 2/2") == 1  # not once more below the verdict
    assert "cells.tif channel 1: intensities" in error


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_further_results_of_several_images(tmp_path: Path, folder: Path, suffix: str) -> None:
    rng = np.random.default_rng(0)
    source = tmp_path / "two"
    (source / "deeper").mkdir(parents=True)
    for name in ("a", "deeper/b"):
        pixels = rng.poisson(np.full((64, 64), 60)).astype(np.uint8)
        PILImage.fromarray(pixels).save(source / f"{name}.{suffix}")
    out, beside = tmp_path / "out", tmp_path / "residuals"
    command = ["enhance", str(source), "-o", str(out), "--model", "microscopy", *FAST]
    assert main([*command, "--residual", str(beside), "--report", str(tmp_path / "r.json")]) == 0
    assert {str(p.relative_to(beside)) for p in beside.rglob("*.*")} == {"a.tif", "deeper/b.tif"}
    assert tifffile.imread(beside / "deeper" / "b.tif").dtype == np.float32
    entries = json.loads((tmp_path / "r.json").read_text())
    assert [Path(e["output"]).name for e in entries] == [f"a.{suffix}", f"b.{suffix}"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "foo"], "model: got 'foo'; allowed are"),
        (["--depth", "9"], "depth: got 9; the model 'photo' allows 0 to 3"),
        (["--device", "cuda:7"], "device: got 'cuda:7'"),
        (["--axes", "zz"], "axes: got 'zz' for an image of shape"),
        (["--residual", "r.tif"], "--residual: got the model 'photo'; allowed is microscopy"),
        (
            ["--model", "microscopy", "--uncertainty", "u.png"],
            "--uncertainty: got u.png; allowed are .tif",
        ),
        (["--report", "r.txt"], "--report: got r.txt; allowed are .json"),
        (["--report", "taken.json"], "taken.json exists; add --overwrite"),
    ],
)
def test_arguments_are_checked_before_any_bar(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("taken.json").write_text("{}")
    assert main(["enhance", str(folder / "a.png"), "-o", "o.png", *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "%" not in error
    assert "px" not in error
    assert sorted(p.name for p in Path().iterdir()) == ["in", "taken.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input-range", "a,b"], "got 'a,b'; allowed are auto, dtype, or BLACK,WHITE"),
        (["--input-range", "1,2,3"], "got '1,2,3'; allowed are"),
        (["--tile", "big"], "got 'big'; allowed are auto and whole numbers"),
    ],
)
def test_values_are_named_with_what_is_allowed(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["enhance", "a.png", "-o", "o.png", *arguments])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 2  # not a list of all options


def test_help_has_examples_and_no_default_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["enhance", "--help"])
    text = capsys.readouterr().out
    assert text.count("napari-dcr enhance ") >= 3
    assert "None" not in text
    for word in ("photo:", "microscopy:", ".webp", "--residual FILE", "number format"):
        assert word in text
    documented = napari_dcr.enhance.__doc__ or ""
    assert "See `Options`" not in documented
    assert "exposure : float" in documented


def test_a_bar_of_megapixels(
    dim_rgb: NDArray[np.uint8], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for progress in (True, np.True_):
        napari_dcr.enhance(dim_rgb, depth=0, device="cpu", progress=progress)
        assert "MP" in capsys.readouterr().err
    napari_dcr.enhance(dim_rgb, depth=0, device="cpu", progress=False)
    assert capsys.readouterr().err == ""
    assert main(["enhance", str(folder / "a.png"), "-o", str(tmp_path / "o.png"), *FAST[:-1]]) == 0
    assert "MP" not in capsys.readouterr().err  # no terminal
    monkeypatch.setattr(console, "_is_terminal", lambda: True)
    command = ["enhance", str(folder / "a.png"), "-o", str(tmp_path / "o.png"), "--overwrite"]
    assert main([*command, *FAST[:-1]]) == 0
    error = capsys.readouterr().err
    assert "MP" in error
    assert "o.png" in error.splitlines()[-1]


@ON_POSIX
def test_a_closed_pipe_ends_the_command_without_an_error() -> None:
    command = f"{sys.executable} -m napari_dcr.cli info | head -1"
    done = subprocess.run(
        command, shell=True, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.startswith("napari-dcr")
    assert done.stderr == ""


@ON_POSIX
@pytest.mark.parametrize(("number", "how"), [("SIGINT", "interrupted"), ("SIGTERM", "terminated")])
def test_a_signal_during_the_imports_ends_the_command_with_one_line(number: str, how: str) -> None:
    code = f"""
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)

class Finder:
    def find_spec(self, name, path, target=None):
        if name == "numpy":
            os.kill(os.getpid(), signal.{number})

sys.meta_path.insert(0, Finder())
from napari_dcr.cli import main
sys.exit(main(["info"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 128 + getattr(signal, number)
    assert done.stderr == (
        f"napari-dcr: {how}; finished files are complete, no other was written\n"
    )
    assert done.stdout == ""


def test_a_refused_resumption_is_not_recommended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, shape in (("a.tif", (40, 50)), ("b.tif", (60, 50))):
        pixels = np.random.default_rng(0).integers(0, 60, shape, np.uint8)
        tifffile.imwrite(tmp_path / name, pixels)
    out = tmp_path / "o.zarr"
    assert main(["enhance", str(tmp_path / "a.tif"), "-o", str(out), *FAST]) == 0
    capsys.readouterr()
    assert main(["enhance", str(tmp_path / "b.tif"), "-o", str(out), "--resume", *FAST]) == 1
    error = capsys.readouterr().err
    assert "shape" in error
    assert "--resume continues it" not in error


@pytest.fixture
def heeded_signals() -> Iterator[None]:
    """Install Python's own signal handlers, because processes in the background of a shell ignore SIGINT."""
    defaults = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in defaults.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@ON_POSIX
@pytest.mark.usefixtures("heeded_signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_unfinished_zarr_is_named_and_can_be_continued(
    tmp_path: Path, number: signal.Signals, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    compute = TileRunner._run_tiles

    def slowly(self: TileRunner, *arguments: Any) -> Any:
        time.sleep(0.02)  # so that the signal comes before the last tile
        return compute(self, *arguments)

    monkeypatch.setattr(TileRunner, "_run_tiles", slowly)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 60, (700, 800), np.uint8)
    tifffile.imwrite(tmp_path / "in.tif", pixels)
    out = tmp_path / "o.ome.zarr"
    command = ["enhance", str(tmp_path / "in.tif"), "-o", str(out), "--tile", "64", *FAST]

    def stop() -> None:
        while not list(out.glob("0/c/0/0")):
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=stop, daemon=True)
    thread.start()
    assert main(command) == 128 + number
    thread.join()
    assert f"{out} is not complete; --resume continues it" in capsys.readouterr().err
    assert main(command) == 1
    assert main([*command, "--resume"]) == 0
    assert np.array_equal(
        zarr.open(out)["0"][...], napari_dcr.enhance(pixels, depth=0, device="cpu", tile=64)
    )


_CELLS = ("--model", "microscopy", "--overwrite")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.tif", "-o", "o.tif", *_CELLS, "--residual", "a.tif"], "--residual: "),
        (["a.tif", "-o", "o.tif", *_CELLS, "--uncertainty", "link.tif"], "is the input file itself"),
        (["a.tif", "b.tif", "-o", "out", *_CELLS, "--residual", "."], "is the input file itself"),
        (["a.tif", "-o", "o.tif", *_CELLS, "--residual", "./o.tif"], "would both be written"),
        (["a.tif", "-o", "o.tif", *_CELLS, "--residual", "r.tif", "--uncertainty", "r.tif"],
         "the residual of"),
        (["a.tif", "b.tif", "-o", "out", *_CELLS, "--residual", "out"], "would both be written"),
        (["a.tif", "-o", "sub", "--overwrite"], None),
        (["b.tif", "sub/b.tif", "-o", "sub", "--overwrite"], "is the input file itself"),
        (["a.tif", "-o", "o.tif", "--model", "microscopy", "--residual", "b.tif"], "b.tif exists"),
        (["a.tif", "c.tif", "-o", "out", "--model", "microscopy", "--uncertainty", "sub"],
         "c.tif exists"),
        (["a.tif", "-o", "o.zarr", "--report", "o.zarr/r.json"], "lies in"),
        (["a.tif", "-o", "o.tif", "--report", "a.tif/r.json"], "lies in the input"),
        (["a.tif", "-o", "o.tif", "--overwrite", "--report", "link.json"], "is the input file itself"),
        (["a.tif", "c.tif", "-o", "out", *_CELLS, "--residual", "sub/sub"], None),
    ],
)  # fmt: skip
def test_no_output_overwrites_an_input_or_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: list[str], message: str | None,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("sub").mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c", "sub/b", "sub/c"):
        tifffile.imwrite(f"{name}.tif", rng.poisson(60, (64, 64)).astype(np.uint16))
    Path("link.tif").symlink_to("a.tif")
    Path("link.json").symlink_to("a.tif")
    before = {p: p.read_bytes() for p in Path().rglob("*") if p.is_file()}
    status = main(["enhance", *arguments, *FAST])
    error = capsys.readouterr().err
    assert {p: p.read_bytes() for p in before} == before
    assert (status, message is None or message in error) == (int(message is not None), True), error
    if message is not None:
        assert {p for p in Path().rglob("*") if p.is_file()} == set(before)


def test_outputs_of_an_earlier_run_are_not_inputs(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    pixels = np.random.default_rng(0).poisson(60, (64, 64)).astype(np.uint16)
    for name in ("a.tif", "b.tif"):
        tifffile.imwrite(source / name, pixels)
    command = ["enhance", str(source), "-o", str(source / "out"), *_CELLS, *FAST]
    for _ in range(2):
        assert main([*command, "--residual", str(source / "beside")]) == 0
    found = {str(p.relative_to(source)) for p in source.rglob("*.tif")}
    assert found == {f"{f}{n}.tif" for f in ("", "out/", "beside/") for n in "ab"}


@pytest.mark.parametrize(
    ("option", "value", "kept"),
    [
        ("input-range", "-5,100", (-5.0, 100.0)),
        ("nodata", "-3.4e+38", -3.4e38),
        ("nodata", "-inf", -np.inf),
        ("exposure", "-.5", -0.5),
        ("exposure", "-1.", -1.0),
        ("scene", "-20C", "-20C"),
    ],
)
def test_values_may_begin_with_a_minus(option: str, value: str, kept: object) -> None:
    known = parser({"info": lambda _: 0, "enhance": lambda _: 0})
    got = known.parse_args(["enhance", "a.tif", "-o", "b.tif", f"--{option}", value])
    assert getattr(got, option.replace("-", "_")) == kept


def test_a_negative_gain_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["enhance", "a.tif", "-o", "b.tif", "--noise", "-1,100,2"])
    assert "noise: got gain -1.0, offset 100.0" in capsys.readouterr().err


def test_the_file_that_rules_out_a_residual_is_named(
    cells: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["enhance", str(cells), "--model", "microscopy", *FAST, "--residual"]
    assert main([*command, str(cells.parent / "r.tif"), "-o", str(cells.parent / "z.zarr")]) == 1
    assert "--residual: got the output z.zarr, which is" in capsys.readouterr().err
