"""Write bioimage.io packages (format 0.5): one file with network, description and test data."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.export.onnx_files import OPSET, Exported, export_picture, session
from napari_dcr.image.noise import estimate_noise
from napari_dcr.image.noise_model import NoiseModel
from napari_dcr.network.cards import purpose, shipped
from napari_dcr.network.weights import Model
from napari_dcr.version import __version__

HOME = "https://pypi.org/project/napari-dcr/"

CAMERA = (2.0, 100.0, 1.5)
"""Gain, offset and read noise of the test image for `microscopy`."""

SIZE = 128, 192
"""Height and width of the test image."""


def package(model: Model, path: Path, depth: int | None = None) -> Exported:
    """Write a package whose network enhances a whole picture at once.

    Parameters
    ----------
    model : Model
    path : Path
        ``.zip`` file to write.
    depth : int, optional
        Depth of the result; the largest depth if None.

    Returns
    -------
    Exported
        The package, with the deviations of its network.
    """
    from bioimageio.spec import save_bioimageio_package

    with tempfile.TemporaryDirectory() as folder:
        exported = export_picture(model, Path(folder) / "network.onnx", depth)
        description = _description(model, Path(folder))
        save_bioimageio_package(description, output_path=path)
    return Exported(path, exported.deviations)


def _description(model: Model, folder: Path) -> Any:
    """Describe the model in a folder that holds its network, and write the other files into it."""
    from bioimageio.spec.model import v0_5 as spec

    counts = model.is_quantitative
    image, camera = _test_inputs(counts)
    working = image.astype(np.float32) if counts else image / np.float32(255)
    inputs = {"image": working, "camera": camera} if counts else {"image": working}
    enhanced = session(folder / "network.onnx")(inputs)["enhanced"]
    expected = enhanced if counts else 255 * enhanced
    arrays = {"image": image, "enhanced": expected} | ({"camera": camera} if counts else {})
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    _cover(folder / "cover.png", image[0], expected[0, : len(image[0])])
    (folder / "README.md").write_text(_readme(model), encoding="utf-8")

    def file(name: str) -> Any:
        return spec.FileDescr(source=folder / name)

    colours = ["intensity"] if counts else ["red", "green", "blue"]
    space = [
        spec.SpaceInputAxis(id=spec.AxisId(axis), size=spec.ParameterizedSize(min=64, step=8))
        for axis in "yx"
    ]
    fixed = spec.EnsureDtypeDescr(kwargs=spec.EnsureDtypeKwargs(dtype="float32"))
    tensors = [
        spec.InputTensorDescr(
            id=spec.TensorId("image"),
            description=_IMAGE[counts],
            axes=[spec.BatchAxis(size=1), spec.ChannelAxis(channel_names=colours), *space],
            test_tensor=file("image.npy"),
            data=spec.IntervalOrRatioDataDescr(
                type="uint16" if counts else "uint8", range=(0, 65535 if counts else 255)
            ),
            # Unless a dtype is last, a cast to that of the image is added, which makes it black.
            preprocessing=[fixed] if counts else [fixed, _scaled(spec, 1 / 255), fixed],
        )
    ]
    if counts:
        tensors.append(
            spec.InputTensorDescr(
                id=spec.TensorId("camera"),
                description="Gain in units per photo-electron, offset in units, and read noise in"
                " electrons, described from the darkest level of the image.",
                axes=[
                    spec.BatchAxis(size=1),
                    spec.ChannelAxis(channel_names=["gain", "offset", "read_noise"]),
                ],
                test_tensor=file("camera.npy"),
                data=spec.IntervalOrRatioDataDescr(type="float32"),
            )
        )
    sizes = [
        spec.SpaceOutputAxis(
            id=spec.AxisId(axis),
            size=spec.SizeReference(tensor_id=spec.TensorId("image"), axis_id=spec.AxisId(axis)),
        )
        for axis in "yx"
    ]
    names = ["estimate", "standard_error"] if counts else colours
    output = spec.OutputTensorDescr(
        id=spec.TensorId("enhanced"),
        description=_RESULT[counts],
        axes=[spec.BatchAxis(size=1), spec.ChannelAxis(channel_names=names), *sizes],
        test_tensor=file("enhanced.npy"),
        data=spec.IntervalOrRatioDataDescr(
            type="float32", range=(None, None) if counts else (0, 255)
        ),
        postprocessing=[] if counts else [_scaled(spec, 255), fixed],
    )
    return spec.ModelDescr(
        name=f"napari-dcr {_name(model)}",
        description=purpose(_weights(model)) or "Weights that were trained with napari-dcr.",
        authors=[spec.Author(name="the napari-dcr founders")],
        cite=[spec.CiteEntry(text=f"napari-dcr {__version__}", url=HOME)],
        license="BSD-3-Clause",
        links=[HOME],
        tags=["denoising", "low-light", "2d", "fluorescence" if counts else "photograph"],
        documentation=file("README.md"),
        covers=[file("cover.png")],
        inputs=tensors,
        outputs=[output],
        weights=spec.WeightsDescr(
            onnx=spec.OnnxWeightsDescr(source=folder / "network.onnx", opset_version=OPSET)
        ),
    )


_IMAGE = {
    False: "RGB picture with display values from 0 to 255.",
    True: "Intensities of a camera in its own units (ADU). One channel.",
}

_RESULT = {
    False: "Picture with display values from 0 to 255.",
    True: "Estimate of each pixel's mean intensity, and its standard error, in the units of the image.",
}


def _scaled(spec: Any, gain: float) -> Any:
    return spec.ScaleLinearDescr(kwargs=spec.ScaleLinearKwargs(gain=gain))


def _name(model: Model) -> str:
    return Path(model.name).stem


def _weights(model: Model) -> Path:
    return shipped().get(model.name, Path(model.name))


def _readme(model: Model) -> str:
    """Documentation of the package: how to use it, and the card of the weights if there is one."""
    how = (
        "Pass gain, offset and read noise as the second input, described from the darkest level of"
        " the image: if background light lifts the image above the camera's offset, the offset is"
        " this level, and the read noise contains the noise of the background. The noise must be"
        " independent from pixel to pixel."
        if model.is_quantitative
        else "Unlike napari-dcr, it also changes pictures that are entirely black or white."
    )
    card = _weights(model).with_suffix(".md")
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    return (
        f"# napari-dcr {_name(model)}\n\n"
        "The network computes one tone curve and one feature grid from the whole picture. Run it on"
        " whole pictures: each tile would get its own tone curve, which makes seams visible."
        f" Height and width must be multiples of 8 and at least 64. {how}\n\n"
        f"Exported from the weights with the SHA-256 `{model.sha256}` by napari-dcr {__version__},"
        f" which enhances images of any size in tiles without seams: {HOME}\n\n"
        "## Validation\n\nCompare results with the tables of the card below, and with images whose"
        f" truth you know.\n\n{text}"
    )


def _test_inputs(counts: bool) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Test image (1, C, H, W) of blurred lights in the dark, and the parameters of its camera."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    light = sum(
        np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * size**2))
        for row, column, size in rng.uniform((0, 0, 2), (*SIZE, 12), (40, 3))
    )
    gain, offset, read_noise = CAMERA
    camera = np.array([CAMERA], np.float32)
    if counts:
        electrons = rng.poisson(2 + 30 * light) + rng.normal(0, read_noise, SIZE)
        image = np.rint(offset + gain * electrons).clip(0, 65535).astype(np.uint16)
        darkest = estimate_noise(image).model.offset
        noise = NoiseModel.of_camera(*CAMERA).at(max(offset, darkest))
        camera[0, 1:] = noise.offset, np.sqrt(noise.dark) / gain
        return image[None, None], camera
    tint = np.array([1.0, 0.85, 0.7])[:, None, None]
    picture = 5 + 30 * tint * light + rng.normal(0, 2, (3, *SIZE))
    return np.rint(picture).clip(0, 255).astype(np.uint8)[None], camera


def _cover(path: Path, before: NDArray[Any], after: NDArray[Any]) -> None:
    """Save one picture that shows (C, H, W) images before and after on two sides of its diagonal."""
    from PIL import Image

    channels, height, width = before.shape
    if channels == 1:
        low, high = (float(v) for v in np.percentile(after, (1, 99.8)))
        before, after = ((255 * (p - low) / (high - low)).clip(0, 255) for p in (before, after))
    y, x = np.mgrid[:height, :width]
    cut = np.where(x * height < y * width, before, after).round().astype(np.uint8)
    Image.fromarray(np.broadcast_to(cut, (3, height, width)).transpose(1, 2, 0).copy()).save(path)
