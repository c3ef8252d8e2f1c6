"""Write the exported graphs as ONNX files, and compare each file with PyTorch."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_dcr.export.graphs import ConditioningGraph, PictureGraph, TileGraph
from napari_dcr.image.thumbnail import SIZE
from napari_dcr.network.isolation import isolated
from napari_dcr.network.weights import Model
from napari_dcr.version import __version__

OPSET = 18
"""Version of the ONNX operators. ONNX Runtime supports it from version 1.14 on."""

TOLERANCE = 1e-5
"""Largest allowed difference between ONNX Runtime and PyTorch, divided by the largest value of the
result if that is above 1."""

BRIGHTEST = 400.0
"""Largest intensity of test images for networks of counts, in standard deviations of the noise."""

Example = Callable[[np.random.Generator], tuple[Tensor, ...]]


class Exported(NamedTuple):
    """An ONNX file that was written.

    Attributes
    ----------
    path : Path
    deviations : dict
        Largest difference between ONNX Runtime and PyTorch for each output, see `TOLERANCE`.
    """

    path: Path
    deviations: dict[str, float]


def export_tiles(
    model: Model, folder: Path, depth: int | None = None, details: Sequence[bool] = (True, False)
) -> Iterator[Exported]:
    """Write the graphs that enhance images tile by tile, as napari-dcr does.

    Parameters
    ----------
    model : Model
    folder : Path
        Folder for ``NAME-conditioning.onnx``, ``NAME-tiles.onnx`` and
        ``NAME-tiles-no-detail.onnx``.
    depth : int, optional
        Largest depth; all if None.
    details : sequence of bool
        Settings of the detail module; each gives a separate file of tiles.

    Yields
    ------
    Exported
    """
    network = copy.deepcopy(model.network)
    depth = check_depth(model, depth)
    stem = folder / Path(model.name).stem
    graph = ConditioningGraph(network)
    channels, counts = network.config.channels, network.config.base == "counts"

    def thumbnails(rng: np.random.Generator) -> tuple[Tensor, ...]:
        thumbnail = _pixels(rng, (1, channels, SIZE, SIZE), counts)
        curvature = torch.from_numpy(rng.uniform(0, 1.6, 1).astype(np.float32))
        return (thumbnail, curvature) if counts else (thumbnail,)

    path = stem.with_name(f"{stem.name}-conditioning.onnx")
    yield write(graph, path, model, thumbnails, [{}] * len(graph.inputs))
    for detail in details:
        tiles = TileGraph(network, depth, detail)

        def example(rng: np.random.Generator) -> tuple[Tensor, ...]:
            shared = thumbnails(rng)
            batch = int(rng.integers(1, 4))
            height, width, *origins = (
                int(n) * network.stride for n in rng.integers(4, 20, 2 + 2 * batch)
            )
            origin = torch.tensor(origins).reshape(batch, 2)
            size = origin.amax(0) + torch.tensor([height, width]) + int(rng.integers(0, 99))
            tile = _pixels(rng, (batch, channels, height, width), counts)
            with torch.no_grad():
                conditioning = graph(*shared)
            return tile, *shared[1:], *conditioning, origin, size

        axes: list[dict[int, str]] = [{} for _ in tiles.inputs]
        axes[0] = {0: "batch", 2: "height", 3: "width"}
        axes[tiles.inputs.index("origin")] = {0: "batch"}
        suffix = "tiles" if detail else "tiles-no-detail"
        yield write(tiles, stem.with_name(f"{stem.name}-{suffix}.onnx"), model, example, axes)


def export_picture(model: Model, path: Path, depth: int | None = None) -> Exported:
    """Write the graph that enhances a whole picture; see `PictureGraph`."""
    network = copy.deepcopy(model.network)
    channels, counts = network.config.channels, network.config.base == "counts"
    graph = PictureGraph(network, check_depth(model, depth))

    def example(rng: np.random.Generator) -> tuple[Tensor, ...]:
        shape = (1, channels, *(int(n) for n in rng.integers(8, 24, 2) * network.stride))
        pixels = _pixels(rng, shape, counts)
        return (100 + pixels, torch.tensor([[2.0, 100.0, 1.5]])) if counts else (pixels,)

    axes: list[dict[int, str]] = [{2: "height", 3: "width"}, {}]
    return write(graph, path, model, example, axes[: len(graph.inputs)])


def check_depth(model: Model, depth: int | None) -> int:
    """Depth to export, by default the largest one.

    Raises
    ------
    ValueError
        If the network does not have this depth.
    """
    stages = model.network.stages
    if depth is None:
        return stages
    if not 1 <= depth <= stages:
        raise ValueError(f"depth: got {depth}; allowed are 1 to {stages}")
    return depth


def write(
    graph: ConditioningGraph | TileGraph | PictureGraph,
    path: Path,
    model: Model,
    example: Example,
    axes: list[dict[int, str]],
) -> Exported:
    """Export a graph, and compare the file with the graph on inputs of several sizes.

    Parameters
    ----------
    graph : module
        Its attributes ``inputs`` and ``outputs`` name the tensors.
    path : Path
    model : Model
        Model whose configuration and SHA-256 are written into the file.
    example : callable
        Function that returns random inputs of random size, given a random generator.
    axes : list of dict
        For each input, names of the axes whose length may vary.  ``height`` and ``width`` are
        multiples of the network's stride.

    Raises
    ------
    RuntimeError
        If an output of the file differs by more than `TOLERANCE`. The file is removed.
    """
    rng = np.random.default_rng(0)
    stride = model.network.stride
    dims: dict[str, Any] = {
        "batch": torch.export.Dim("batch"),
        "height": stride * torch.export.Dim("height"),
        "width": stride * torch.export.Dim("width"),
    }
    # An axis of length 1 would be exported as a constant.
    inputs = next(e for e in iter(lambda: example(rng), None) if _is_general(e, axes))
    with isolated(), torch.no_grad():
        graph(*inputs)  # fills the caches, so that they do not keep tensors of the export
    with isolated(), torch.enable_grad():  # without gradients, `in_bands` would divide the rows
        program = torch.onnx.export(
            _frozen(graph), inputs, dynamo=True, opset_version=OPSET, verbose=False,
            input_names=graph.inputs, output_names=graph.outputs,
            dynamic_shapes=_shapes(graph, [{k: dims[v] for k, v in a.items()} for a in axes]),
        )  # fmt: skip
    assert program is not None
    program.model.metadata_props.update(
        {"napari_dcr_version": __version__, "weights_sha256": model.sha256,
         "network": json.dumps(model.network.config.to_dict())}
    )  # fmt: skip
    program.save(path)
    deviations = deviations_of(graph, path, [example(rng) for _ in range(3)])
    wrong = {name: far for name, far in deviations.items() if not far <= TOLERANCE}
    if wrong:
        path.unlink()
        raise RuntimeError(f"{path.name}: ONNX Runtime deviates from PyTorch: {wrong}")
    return Exported(path, deviations)


def deviations_of(
    graph: ConditioningGraph | TileGraph | PictureGraph,
    path: Path,
    examples: list[tuple[Tensor, ...]],
) -> dict[str, float]:
    """Largest difference between an ONNX file and its graph, for each output."""
    run = session(path)
    result = dict.fromkeys(graph.outputs, 0.0)
    for inputs in examples:
        with isolated(), torch.no_grad():
            expected = graph(*inputs)
        expected = expected if isinstance(expected, tuple) else (expected,)
        found = run(dict(zip(graph.inputs, (i.numpy() for i in inputs), strict=True)))
        for name, ours in zip(graph.outputs, expected, strict=True):
            scale = max(1.0, float(ours.abs().max()))
            far = float(np.abs(found[name] - ours.numpy()).max()) / scale
            result[name] = max(result[name], far)
    return result


def session(path: Path) -> Callable[[dict[str, NDArray[Any]]], dict[str, NDArray[Any]]]:
    """Open an ONNX file on the CPU, and return a function that runs it on named arrays."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    opened = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in opened.get_outputs()]
    return lambda inputs: dict(zip(names, opened.run(names, inputs), strict=True))


def _frozen(graph: nn.Module) -> nn.Module:
    for parameter in graph.parameters():
        parameter.requires_grad_(False)
    return graph.eval()


def _is_general(inputs: tuple[Tensor, ...], axes: list[dict[int, str]]) -> bool:
    """Whether axes with different names have different lengths, all above 1."""
    lengths = {
        (name, tensor.shape[axis])
        for tensor, named in zip(inputs, axes, strict=True)
        for axis, name in named.items()
    }
    values = [length for _, length in lengths]
    return len(set(values)) == len(values) and min(values, default=2) > 1


def _shapes(graph: nn.Module, axes: list[dict[int, Any]]) -> tuple[Any, ...]:
    """Arrange dynamic shapes like the arguments of the graph."""
    if isinstance(graph, TileGraph):
        return axes[0], tuple(axes[1:])
    return tuple(axes)


def _pixels(rng: np.random.Generator, shape: tuple[int, ...], counts: bool) -> Tensor:
    """Dim test pixels with noise, in working units: a ramp along x, with another level in every row."""
    level = rng.random((*shape[:3], 1)) * np.linspace(0, 1, shape[3])
    if counts:
        level = BRIGHTEST * level**3
        return torch.from_numpy(rng.normal(level, np.sqrt(1 + level)).astype(np.float32))
    return torch.from_numpy(np.clip(rng.normal(0.3 * level, 0.03), 0, 1).astype(np.float32))
