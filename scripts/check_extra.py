"""Enhance a small file of every format that an extra reads.

    python scripts/check_extra.py EXTRA

``scripts/check-extras`` runs this script in an environment with napari-dcr and only this extra; ``base``
means no extra. Files are enhanced at strength 0, which must return the pixels unchanged. Files of
formats that need another extra must raise an error that names this extra.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

sys.path.insert(0, str(Path(__file__).parents[1]))
import napari_dcr
from napari_dcr.cli import main
from tests.io import dng_files, instruments

STACK = np.random.default_rng(0).integers(0, 4096, (2, 3, 40, 56)).astype(np.uint16)  # c, z, y, x
LIF = {"name": "a", "pixels": STACK, "dims": "CZYX", "steps": {}, "bits": 12}
PAGES = {"photometric": "minisblack"}


def fits(path: Path) -> None:
    """Write a cube."""
    from astropy.io import fits as module

    module.PrimaryHDU(STACK[0]).writeto(path)


def czi(path: Path) -> None:
    """Write a plane."""
    from pylibCZIrw import czi as module

    with module.create_czi(str(path)) as file:
        file.write(STACK[0, 0], plane={})


def ims(path: Path) -> None:
    """Write a volume."""
    import h5py

    with h5py.File(path, "w") as file:
        info = file.create_group("DataSetInfo/Image")
        for axis, size in zip("XYZ", STACK.shape[:0:-1], strict=True):
            info.attrs[axis] = np.frombuffer(str(size).encode(), "S1")
        for channel in range(len(STACK)):
            file.create_group(f"DataSetInfo/Channel {channel}")
            name = f"DataSet/ResolutionLevel 0/TimePoint 0/Channel {channel}/Data"
            file.create_dataset(name, data=STACK[channel])


def mrc(path: Path) -> None:
    """Write a volume."""
    import mrcfile

    with mrcfile.new(path) as file:
        file.set_data(STACK[0])


def heic(path: Path) -> None:
    """Write a picture."""
    import pillow_heif

    pillow_heif.encode("RGB", (56, 40), bytes(56 * 40 * 3), path)


def zarr(path: Path) -> None:
    """Write an array."""
    import zarr as module

    module.save(str(path), STACK[0, 0])


def dask(path: Path) -> None:
    """Enhance a lazy array and write the result to a TIFF, because dask has no file format."""
    import dask.array

    lazy = dask.array.from_array(STACK[0], chunks=(1, 40, 56))
    same = napari_dcr.enhance(lazy, axes="zyx", depth=0, strength=0.0, device="cpu")
    assert np.array_equal(same.compute(), STACK[0])
    tifffile.imwrite(path, STACK[0, 0])


def y4m(path: Path) -> None:
    """Write three grey frames."""
    frames = b"".join(b"FRAME\n" + (plane >> 4).astype(np.uint8).tobytes() for plane in STACK[0])
    path.write_bytes(b"YUV4MPEG2 W56 H40 F25:1 Ip A1:1 Cmono\n" + frames)


def exr(path: Path) -> None:
    """Write a picture."""
    import OpenEXR

    kind = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(kind, {"Y": STACK[0, 0].astype(np.float32) / 4096}).write(str(path))


Writer = Callable[[Path], Any]

FORMATS: dict[str, dict[str, Writer]] = {
    "base": {
        "tif": lambda path: tifffile.imwrite(path, STACK[0, 0]),
        "lsm": lambda path: instruments.write_lsm(path, STACK.swapaxes(0, 1)[:, [0, 1, 0]]),
        "stk": lambda path: instruments.write_stk(path, STACK[0]),
        "dcimg": lambda path: instruments.write_dcimg(path, STACK[0]),
    },
    "astronomy": {"fits": fits},
    "microscopes": {
        "czi": czi, "ims": ims, "mrc": mrc,
        "nd2": lambda path: instruments.write_nd2(path, STACK[0][..., None], {"Z": 3}, channels=1),
        "lif": lambda path: instruments.write_lif(path, [LIF]),
        "oif": lambda path: instruments.write_oif(path, STACK, "CZ"),
        "sif": lambda path: instruments.write_sif(path, STACK[0].astype(np.float32)),
    },
    "heic": {"heic": heic},
    "raw": {"dng": lambda path: dng_files.write_dng(path, STACK[0, 0] + np.uint16(512))},
    "exr": {"exr": exr},
    "video": {"y4m": y4m},
    "zarr": {"zarr": zarr},
    "dask": {"tif": dask},
    "distributed": {"tif": dask},
    "train": {},
    "export": {},
}  # fmt: skip
"""Suffixes of the formats that each extra reads, with functions that write such files."""

ROUNDED = ("heic", "dng", "exr")
"""Formats whose pixels are not stored as numbers of an array: only their size is compared."""

OUTPUTS = {"zarr": "out.ome.zarr", "y4m": "out.mkv"}
"""Results of formats that are not written as TIFF."""

NEEDS = {
    "nd2": "microscopes",
    "lif": "microscopes",
    "sif": "microscopes",
    "dng": "raw",
    "y4m": "video",
}
"""Formats whose files are written without the package that reads them."""


def enhance(path: Path, out: Path) -> tuple[int, str]:
    """Enhance a file at strength 0; returns the exit status and the messages."""
    message = io.StringIO()
    command = ["enhance", str(path), "-o", str(out), "--depth", "0", "--strength", "0"]
    with contextlib.redirect_stderr(message):
        status = main([*command, "--device", "cpu", "-q"])
    return status, message.getvalue().strip()


def check(extra: str, folder: Path) -> None:
    """Check an extra; raises an error if a check fails."""
    for suffix, write in FORMATS[extra].items():
        path = folder / f"a.{suffix}"
        write(path)
        out = folder / OUTPUTS.get(suffix, f"out-{suffix}.tif")
        status, message = enhance(path, out)
        assert status == 0, f"{suffix}: {message}"
        if suffix == "zarr":
            import zarr as module

            made: Any = np.asarray(module.open_group(out, mode="r")["0"])
        elif suffix == "y4m":
            again = napari_dcr.open_image(out).array
            made = np.asarray(again[(slice(None),) * again.ndim])
        else:
            made = np.asarray(tifffile.imread(out))
        opened = napari_dcr.open_image(path).array
        before = np.asarray(opened[(slice(None),) * opened.ndim])
        if suffix in ROUNDED:
            assert made.shape[:2] == (40, 56), f"{suffix}: {made.shape}"
        else:
            assert np.array_equal(made, before.reshape(made.shape)), f"{suffix}: other pixels"
        print(f"  {suffix}: {before.shape} {before.dtype} read and written")
    for suffix, needed in NEEDS.items():
        if needed == extra or suffix in FORMATS[extra]:
            continue
        path = folder / f"b.{suffix}"
        FORMATS[needed][suffix](path)
        status, message = enhance(path, folder / "no.tif")
        assert status == 1, f"{suffix}: it was read without {needed}"
        assert f'pip install "napari-dcr[{needed}]"' in message, message
        print(f"  {suffix}: refused, with the extra to install")


if __name__ == "__main__":
    (name,) = sys.argv[1:]
    if name == "train":
        assert importlib.util.find_spec("skimage") and importlib.util.find_spec("skvideo")  # noqa: PT018
        import napari_dcr.training.loop
    with tempfile.TemporaryDirectory() as made:
        check(name, Path(made))
        if name == "export":
            from napari_dcr.export.__main__ import main as export

            assert export(["photo", "-o", made, "--depth", "1"]) == 0
