"""ONNX files give what napari-dcr gives, at every depth and with either setting of detail."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import napari_dcr
from napari_dcr.export import onnx_files
from napari_dcr.export.__main__ import main
from napari_dcr.network import weights
from napari_dcr.network.cascade import CascadeConfig
from tests.conftest import lively_cascade

PAGE = Path(__file__).parents[2] / "docs" / "export.md"

SMALL: dict[str, Any] = {"stages": 2, "widths": (4, 4, 4), "grid_channels": 4}


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> Iterator[None]:
    """PyTorch's exporter warns about itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def small(folder: Path, name: str, config: CascadeConfig) -> Path:
    path = folder / f"{name}.safetensors"
    weights.save(lively_cascade(config=config), path, {})
    return path


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a small network for pictures, and its files in ``exported``."""
    folder = tmp_path_factory.mktemp("photo")
    path = small(folder, "photo", CascadeConfig(**SMALL))
    exported(path, detail=True)
    return path


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a small network for counts, and its files in ``exported``."""
    folder = tmp_path_factory.mktemp("counts")
    path = small(folder, "counts", CascadeConfig(channels=1, base="counts", **SMALL))
    exported(path, detail=False)
    return path


def exported(path: Path, detail: bool) -> None:
    """Export tiles of one setting only: an export takes half a minute."""
    folder = path.parent / "exported"
    folder.mkdir()
    written = list(onnx_files.export_tiles(weights.load(path), folder, details=[detail]))
    assert [len(each.deviations) for each in written] == [4 if detail else 1, 3]
    assert all(far < 1e-5 for each in written for far in each.deviations.values())


def run(path: Path, **inputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
    return onnx_files.session(path)(inputs)


def area_means(picture: NDArray[Any]) -> NDArray[np.float32]:
    """Means of (C, H, W) in 64 x 64 cells, for sides that are multiples of 64."""
    channels, height, width = picture.shape
    cells = picture.reshape(channels, 64, height // 64, 64, width // 64)
    return cells.mean((2, 4), dtype=np.float64).astype(np.float32)[None]


@pytest.mark.slow
def test_one_tile_of_a_picture_is_what_enhance_gives_at_every_depth(photo: Path) -> None:
    rng = np.random.default_rng(1)
    x = np.linspace(0.02, 0.4, 192)
    picture = rng.normal(x * np.array([1, 0.8, 0.6])[:, None, None], 0.02, (3, 128, 192))
    picture = picture.clip(0, 1).astype(np.float32)
    folder = photo.parent / "exported"
    shared = run(folder / "photo-conditioning.onnx", thumbnail=area_means(picture))
    found = run(
        folder / "photo-tiles.onnx", tile=picture[None], **shared,
        origin=np.array([[0, 0]]), image_size=np.array([128, 192]),
    )  # fmt: skip
    assert sorted(found) == ["depth_0", "depth_1", "depth_2"]
    for depth in range(3):
        expected = napari_dcr.enhance(
            picture.transpose(1, 2, 0), model=photo, depth=depth, device="cpu",
            precision="fp32", input_range=(0, 1),
        )  # fmt: skip
        ours = found[f"depth_{depth}"][0].clip(0, 1).transpose(1, 2, 0)
        assert np.abs(ours - expected).max() < 1e-5
        assert np.abs(expected - picture.transpose(1, 2, 0)).max() > 0.05


@pytest.mark.slow
def test_one_tile_of_counts_without_detail_is_what_enhance_gives_at_every_depth(
    counts: Path,
) -> None:
    gain, offset, read = 2.0, 100.0, 1.5
    rng = np.random.default_rng(1)
    electrons = rng.poisson(np.linspace(1, 60, 192), (128, 192)) + rng.normal(0, read, (128, 192))
    image = (offset + gain * electrons).astype(np.float32)
    camera = napari_dcr.NoiseModel.of_camera(gain, offset, read)
    noise = camera.at(max(offset, napari_dcr.estimate_noise(image).model.offset))
    tile = ((image - noise.offset) / noise.unit).astype(np.float32)[None]
    curvature = np.array([noise.curvature], np.float32)
    folder = counts.parent / "exported"
    shared = run(
        folder / "counts-conditioning.onnx", thumbnail=area_means(tile), curvature=curvature
    )
    found = run(
        folder / "counts-tiles-no-detail.onnx", tile=tile[None], curvature=curvature, **shared,
        origin=np.array([[0, 0]]), image_size=np.array([128, 192]),
    )  # fmt: skip
    for depth in range(3):
        expected, error = napari_dcr.enhance(
            image, model=counts, depth=depth, detail=False, device="cpu", precision="fp32",
            noise=camera, defects="off",
            return_uncertainty=True,
        )  # fmt: skip
        estimate, deviation = found[f"depth_{depth}"][0]
        assert np.abs(estimate * noise.unit + noise.offset - expected).max() < 1e-5 * np.ptp(image)
        assert np.abs(deviation * noise.unit - error).max() < 1e-5 * np.ptp(image)
    assert np.abs(expected - image).max() > 1


@pytest.mark.slow
def test_the_example_of_the_page_enhances_a_picture_of_any_size_without_seams(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(2)
    x = np.linspace(10, 90, 603)[:, None] * [1, 0.8, 0.6]
    picture = rng.normal(x, 4, (290, 603, 3)).clip(0, 255).astype(np.uint8)
    (tmp_path / "exported").symlink_to(photo.parent / "exported")
    Image.fromarray(picture).save(tmp_path / "night.png")
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    exec(code.replace("depth_3", "depth_2"), {})
    expected = napari_dcr.enhance(picture, model=photo, device="cpu", precision="fp32", tile=128)
    found = np.asarray(Image.open("bright.png")).astype(int)
    assert np.abs(found - expected).max() <= 1
    assert (found != expected).mean() < 1e-3  # rounding of equal values


@pytest.mark.slow
def test_files_name_their_weights_and_opset(counts: Path) -> None:
    import onnx

    model = onnx.load(counts.parent / "exported" / "counts-tiles-no-detail.onnx")
    assert [each.version for each in model.opset_import if not each.domain] == [onnx_files.OPSET]
    named = {each.key: each.value for each in model.metadata_props}
    assert named["weights_sha256"] == weights.load(counts).sha256
    assert named["napari_dcr_version"] == napari_dcr.__version__


@pytest.mark.slow
def test_a_file_that_deviates_is_removed(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = onnx_files.session

    def wrong(path: Path) -> Any:
        opened = exact(path)
        return lambda inputs: {name: 1.001 * value for name, value in opened(inputs).items()}

    monkeypatch.setattr(onnx_files, "session", wrong)
    with pytest.raises(RuntimeError, match=r"photo-conditioning\.onnx: ONNX Runtime deviates"):
        next(onnx_files.export_tiles(weights.load(photo), tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named_before_anything_is_computed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert main(["photo", "-o", str(tmp_path / "out")]) == 1
    assert "onnxscript" in (error := capsys.readouterr().err)
    assert error.endswith('pip install "napari-dcr[export]"\n')
    assert not (tmp_path / "out").exists()


def test_a_depth_that_the_network_lacks_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = small(tmp_path, "mine", CascadeConfig(**SMALL))
    assert main([str(path), "-o", str(tmp_path / "out"), "--depth", "3"]) == 1
    assert capsys.readouterr().err == "export: depth: got 3; allowed are 1 to 2\n"
    assert list((tmp_path / "out").iterdir()) == []


def test_export_leaves_the_loaded_network_as_it_was(photo: Path) -> None:
    network = weights.load(photo).network
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert torch.is_grad_enabled()
