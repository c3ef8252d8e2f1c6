"""Wheel, sdist and editable install: manifest and weights are there in each."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command: str | Path, cwd: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PIP_CONSTRAINT")}
    done = subprocess.run(
        [str(c) for c in command], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout as version control knows it, so that nothing built before helps."""
    copy = tmp_path_factory.mktemp("source") / "napari-dcr"
    ignored = shutil.ignore_patterns(".git", ".tox", ".venv", "dist", "build", "runs", "*cache*")
    shutil.copytree(ROOT, copy, symlinks=True, ignore=ignored)
    return copy


@pytest.fixture(scope="module")
def artifacts(source: Path) -> dict[str, Path]:
    """The wheel, built from the sdist as an index would serve it, the sdist, and the checkout."""
    run(sys.executable, "-m", "build", "--no-isolation", source, cwd=source)
    (wheel,) = (source / "dist").glob("*.whl")
    (sdist,) = (source / "dist").glob("*.tar.gz")
    return {"wheel": wheel, "sdist": sdist, "editable": source}


def clean_environment(folder: Path) -> Path:
    """A virtual environment that has this one's packages, but nothing of napari-dcr.

    GroupConditioning, not installed: the tests need no network.
    """
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    site = Path(
        run(
            python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder
        ).strip()
    )
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if "napari_dcr" not in entry.name.lower().replace("-", "_"):
            (site / entry.name).symlink_to(entry)
    absent = subprocess.run([python, "-c", "import napari_dcr"], cwd=folder, capture_output=True)
    assert absent.returncode != 0
    return python


CHECK = """
import numpy, napari_dcr
from napari_dcr.network import cards
assert "photo" in cards.shipped()
dim = numpy.arange(20 * 30 * 3).reshape(20, 30, 3).astype(numpy.uint8) % 16
bright = napari_dcr.enhance(dim, depth=1)
assert bright.shape == dim.shape and bright.mean() > dim.mean()
print(napari_dcr.__file__)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wheel", "sdist", "editable"])
def test_installed_it_has_manifest_and_weights(
    kind: str, artifacts: dict[str, Path], tmp_path: Path
) -> None:
    python = clean_environment(tmp_path / "env")
    pip = (python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-build-isolation")
    arguments = ["-e", artifacts[kind]] if kind == "editable" else [artifacts[kind]]
    run(*pip, *arguments, cwd=tmp_path)
    assert "valid" in run(python, "-m", "npe2", "validate", "napari-dcr", cwd=tmp_path).lower()
    found = Path(run(python, "-c", CHECK, cwd=tmp_path).strip())
    home = artifacts["editable"] if kind == "editable" else tmp_path / "env"
    assert found.resolve().is_relative_to(home.resolve())
    assert "photo" in run(python.parent / "napari-dcr", "info", cwd=tmp_path)
