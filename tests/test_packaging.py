"""Tests that wheel, sdist and editable install contain the version, the manifest and the weights."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def started(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PIP_CONSTRAINT")}
    return subprocess.run(
        [str(c) for c in command], cwd=cwd, env=environment, capture_output=True, text=True
    )


def run(*command: str | Path, cwd: Path) -> str:
    done = started(*command, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tracked files, so that earlier builds have no effect."""
    copy = tmp_path_factory.mktemp("source") / "napari-dcr"
    ignored = shutil.ignore_patterns(
        ".git", ".tox", ".venv", "dist", "build", "runs", "__pycache__", ".*_cache", ".cache"
    )
    shutil.copytree(ROOT, copy, symlinks=True, ignore=ignored)
    return copy


@pytest.fixture(scope="module")
def artifacts(source: Path) -> dict[str, Path]:
    """The sdist, the wheel that is built from it, and the checkout for an editable install."""
    run(sys.executable, "-m", "build", "--no-isolation", source, cwd=source)
    (wheel,) = (source / "dist").glob("*.whl")
    (sdist,) = (source / "dist").glob("*.tar.gz")
    return {"wheel": wheel, "sdist": sdist, "editable": source}


def test_the_script_check_extras_installs_every_extra_alone() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = re.search(r"extras=\((base .*)\)", (ROOT / "scripts" / "check-extras").read_text())
    assert extras is not None
    assert set(extras[1].split()) == {"base", *project["optional-dependencies"]} - {"all"}


def clean_environment(folder: Path) -> Path:
    """A virtual environment with this one's packages, but without napari-dcr.

    The packages are linked instead of installed, because tests need no network.
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
    assert started(python, "-c", "import napari_dcr", cwd=folder).returncode != 0
    return python


def version_of(folder: Path) -> str:
    return run(sys.executable, "-m", "hatchling", "version", cwd=folder).strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with the files that the version depends on, and two commits."""
    folder = tmp_path / "repository"
    folder.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, folder)
    git("init", "-q", "-b", "main", folder=folder)
    for message in ("first", "second"):
        git("add", ".", folder=folder)
        git("commit", "-q", "--allow-empty", "-m", message, folder=folder)
    return folder


def git(*arguments: str, folder: Path) -> None:
    who = ("-c", "user.name=someone", "-c", "user.email=someone@example.org")
    run("git", *who, *arguments, cwd=folder)


def test_the_tag_is_the_version_in_the_repository_and_in_its_sdist(
    repository: Path, tmp_path: Path
) -> None:
    git("tag", "v1.2.3", folder=repository)
    assert version_of(repository) == "1.2.3"
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path, cwd=repository)
    with tarfile.open(tmp_path / "napari_dcr-1.2.3.tar.gz") as file:
        file.extractall(tmp_path, filter="data")
    assert version_of(tmp_path / "napari_dcr-1.2.3") == "1.2.3"


def test_a_commit_after_the_tag_has_a_development_version(repository: Path) -> None:
    git("tag", "v1.2.3", folder=repository)
    git("commit", "-q", "--allow-empty", "-m", "third", folder=repository)
    assert version_of(repository).startswith("1.2.4.dev1+g")


def test_a_shallow_clone_without_tags_has_a_version(repository: Path, tmp_path: Path) -> None:
    git("tag", "v1.2.3", "HEAD~1", folder=repository)
    clone = tmp_path / "clone"
    git(
        "clone", "-q", "--depth", "1", "--no-tags", repository.as_uri(), str(clone), folder=tmp_path
    )
    assert version_of(clone).startswith("0.0.1.dev1+g")


def test_a_copy_without_version_control_has_a_version(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    assert version_of(tmp_path) == "0.0.0"


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
def test_the_installed_package_has_manifest_and_weights(
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
