"""Command ``python -m napari_dcr.export MODEL -o FOLDER``, which exports a network for other software."""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
import warnings
from pathlib import Path

from napari_dcr.export.onnx_files import OPSET, export_tiles
from napari_dcr.network import weights

NEEDED = ("onnx", "onnxruntime", "onnxscript")
"""Packages of the extra `export` that every export needs."""


def main(arguments: list[str] | None = None) -> int:
    """Write the ONNX files and the bioimage.io package of a model; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m napari_dcr.export", description="Export a network for other software."
    )
    parser.add_argument("model", help="photo, microscopy, or the path of a .safetensors file")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for the files")
    parser.add_argument("--depth", type=int, help="largest depth (default: all)")
    parser.add_argument(
        "--no-bioimageio", action="store_true", help="do not write a bioimage.io package"
    )
    options = parser.parse_args(arguments)
    for name in ("torch.onnx", "onnxscript", "onnx_ir"):  # they log every step
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _export(options)
    except ModuleNotFoundError as error:
        print(f'export: {error}; pip install "napari-dcr[export]"', file=sys.stderr)
        return 1
    except (ValueError, OSError, RuntimeError) as error:
        print(f"export: {error}", file=sys.stderr)
        return 1
    return 0


def _export(options: argparse.Namespace) -> None:
    """Write the files and print how far their results are from those of PyTorch."""
    for needed in NEEDED if options.no_bioimageio else (*NEEDED, "bioimageio.spec"):
        importlib.import_module(needed)  # fail before the export, which takes minutes
    model = weights.load(options.model)
    options.out.mkdir(parents=True, exist_ok=True)
    for exported in export_tiles(model, options.out, options.depth):
        print(f"{exported.path}: opset {OPSET}", *_deviations(exported.deviations), sep="\n  ")
    if not options.no_bioimageio:
        from napari_dcr.export.bioimage_io import package

        path = options.out / f"{Path(model.name).stem}.bioimageio.zip"
        exported = package(model, path, options.depth)
        print(exported.path, *_deviations(exported.deviations), sep="\n  ")


def _deviations(deviations: dict[str, float]) -> list[str]:
    return [f"{name}: deviates by at most {far:.1e}" for name, far in deviations.items()]


if __name__ == "__main__":
    sys.exit(main())
