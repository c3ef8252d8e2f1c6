"""Tests that run every Python block and every command of README and docs on small synthetic inputs.

The blocks of a page run in their order in one namespace, as if a reader ran them. A block of plain
text directly after a Python block contains the expected output. A block after the comment
`<!-- not run: REASON -->` is not run, and the skipped test shows the reason.
"""

from __future__ import annotations

import importlib.util
import itertools
import re
import runpy
import shlex
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.cli import main
from napari_dcr.io import writing
from napari_dcr.io.files import Picture

ROOT = Path(__file__).parents[1]

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

BLOCK = re.compile(
    r"^(?P<indent> *)(?:<!-- not run: (?P<reason>[^>]*) -->\n+ *)?"
    r"(?:```|:::)\{?(?P<language>python|sh|shell|text)\}?\n(?P<code>.*?)^ *(?:```|:::)$",
    re.MULTILINE | re.DOTALL,
)

RUNNABLE = ("python", "sh", "shell")


@dataclass(frozen=True)
class Block:
    """A block of code of a page, with its output if the page shows it."""

    page: Path
    line: int
    language: str
    code: str
    reason: str | None
    printed: str | None

    @property
    def name(self) -> str:
        """Page and line, for the name of a test."""
        return f"{self.page.relative_to(ROOT).as_posix()}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of code of a page."""
    text = page.read_text("utf-8")
    found = list(BLOCK.finditer(text))
    for match, following in itertools.zip_longest(found, found[1:]):
        if match["language"] not in RUNNABLE:
            continue
        printed = None
        if (
            following
            and following["language"] == "text"
            and not text[match.end() : following.start()].strip()
        ):
            printed = following["code"]
        line = text.count("\n", 0, match.start("code"))
        yield Block(page, line, match["language"], match["code"], match["reason"], printed)


WITH_CODE = [page for page in PAGES if any(block.reason is None for block in blocks(page))]

NOT_RUN = [block for page in PAGES for block in blocks(page) if block.reason is not None]


def scene(*shape: int, photons: float = 30, seed: int = 0) -> NDArray[np.uint16]:
    """A recording of blobs with the noise of a camera: 2.2 counts per photon, offset 100."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[-2], : shape[-1]]
    light = photons * (1.1 + np.sin(x / 9) * np.cos(y / 11))
    electrons = rng.poisson(np.broadcast_to(light, shape)) + rng.normal(0, 1.4, shape)
    return np.clip(np.rint(100 + 2.2 * electrons), 0, 65535).astype(np.uint16)


def photograph(height: int = 96, width: int = 128, seed: int = 0) -> NDArray[np.uint8]:
    """A dim colour photograph."""
    grey = (scene(height, width, seed=seed) - 90) / 8
    return (grey[..., None] * [1.0, 0.8, 0.7]).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the pages use."""
    zarr, av = pytest.importorskip("zarr"), pytest.importorskip("av")
    folder = tmp_path_factory.mktemp("pages")
    for name in (
        "night.jpg",
        "folder/a.jpg",
        "folder/b.png",
        "photos/one.jpg",
        "photos/two.jpg",
        "0.png",
        "1.png",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        writing.write(folder / name, Picture(photograph(seed=len(name)), "yxs"))
    for name in ("recordings/a.tif", "recordings/b.tif", "rec_1.tif", "rec_2.tif"):
        (folder / name).parent.mkdir(exist_ok=True)
        tifffile.imwrite(folder / name, scene(2, 96, 96), metadata={"axes": "TYX"}, imagej=True)
    pixels = scene(2, 3, 96, 128)
    metadata: dict[str, Any] = {
        "axes": "CZYX",
        "PhysicalSizeX": 0.11, "PhysicalSizeY": 0.11, "PhysicalSizeZ": 0.5,
        "Channel": {"Name": ["nuclei", "actin"]},
    }  # fmt: skip
    tifffile.imwrite(folder / "cells.ome.tif", pixels, ome=True, metadata=metadata)
    group = zarr.open_group(str(folder / "slide.ome.zarr"), mode="w", zarr_format=2)
    group.create_array("0", data=scene(300, 420), chunks=(128, 128))
    axes = [{"name": name, "type": "space"} for name in "yx"]
    levels = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0]}]}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": levels}]
    zarr.save_array(str(folder / "dim.zarr"), scene(256, 256), zarr_format=3)
    with av.open(str(folder / "night.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for number in range(6):
            frame = av.VideoFrame.from_ndarray(photograph(seed=number), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return folder


@pytest.fixture
def here(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of a reader: a fresh copy of the files."""
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names() -> dict[str, Any]:
    """Variables that pages use without defining them, such as the reader's own images."""
    dark = np.random.default_rng(1).normal(100, 3.1, (12, 96, 128))
    return {
        "__name__": "__main__",
        "np": np,
        "napari_dcr": napari_dcr,
        "dim": photograph(),
        "rgb": photograph(),
        "grey": photograph()[..., 0],
        "image": scene(96, 128),
        "other": scene(96, 128, seed=1),
        "stack": scene(2, 3, 96, 96),
        "dark_frames": np.rint(dark).astype(np.uint16),
        "flat_frames": scene(12, 96, 128, photons=200),
    }


def run_command(words: list[str]) -> None:
    """Run a command of this project; for other commands, check that the program exists or is known."""
    found = [sorted(map(str, Path().glob(word))) if "*" in word else [word] for word in words]
    words = [word for each in found for word in each]
    if words[0] == "napari-dcr":
        assert main(words[1:]) == 0, shlex.join(words)
    while words[0].startswith(("OMP_", "CUDA_")):
        words = words[1:]
    program = Path(words[0]).name
    if program in ("python", "python3") and words[1] == "-m":
        assert importlib.util.find_spec(words[2]), words[2]
    elif program in ("python", "python3"):
        assert (ROOT / words[1]).exists(), words[1]
    elif "/" in words[0] and not words[0].startswith("."):
        assert (ROOT / words[0]).exists(), words[0]
    else:
        assert program in (
            "napari-dcr",
            "pip",
            "git",
            "cd",
            "python",
            "tox",
            "dask",
            "napari",
            "pre-commit",
        ), program


def run_block(block: Block, names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Run a block; the traceback of an error contains the line of the page."""
    capsys.readouterr()
    if block.language == "python":
        code = compile("\n" * block.line + block.code, str(block.page), "exec")
        exec(code, names)
    else:
        for line in block.code.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                run_command(words)
    if block.printed is not None:
        assert capsys.readouterr().out == block.printed, block.name


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.relative_to(ROOT).as_posix())
@pytest.mark.filterwarnings("ignore::napari_dcr.InputWarning")
def test_the_code_of_a_page_runs(
    page: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = names()
    with warnings.catch_warnings():
        for block in blocks(page):
            if block.reason is None:
                run_block(block, known, capsys)


@pytest.mark.parametrize(
    "example", sorted((ROOT / "docs/examples").glob("*.py")), ids=lambda p: p.stem
)
def test_an_example_of_the_gallery_makes_two_pictures(
    example: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("skimage")
    monkeypatch.chdir(example.parent)
    found = runpy.run_path(str(example))
    assert found["before"].shape == found["after"].shape
    assert np.abs(np.subtract(found["before"], found["after"], dtype=float)).max() > 0


@pytest.mark.parametrize("block", NOT_RUN, ids=lambda block: block.name)
def test_a_block_that_is_left_out_says_why(block: Block) -> None:
    compile(block.code, block.name, "exec") if block.language == "python" else None
    assert block.reason
    pytest.skip(block.reason)
