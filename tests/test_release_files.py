"""Files that accompany a release agree with pyproject.toml and with the packages themselves."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from importlib.metadata import PackageNotFoundError, files, version
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

COPYLEFT = {
    "libx264": "x264",
    "libx265": "x265",
    "libheif": "libheif",
    "libde265": "libde265",
    "libavcodec": "FFmpeg",
    "libgnutls": "GnuTLS",
    "libnettle": "Nettle",
    "libhogweed": "Hogweed",
    "libgmp": "GMP",
    "libunistring": "libunistring",
    "libasound": "ALSA",
    "libmp3lame": "LAME",
    "libraw": "LibRaw",
    "libquadmath": "libquadmath",
    "libgfortran": "libgfortran",
    "libgomp": "libgomp",
    "libQt6Core": "Qt",
    "libwcs": "WCSLIB",
}
"""Libraries under the GPL or LGPL that wheels contain, and their names in NOTICE."""


def requirements() -> list[str]:
    """Requirements of a plain install and of all extras."""
    extras = PROJECT["optional-dependencies"].values()
    return [*PROJECT["dependencies"], *(each for extra in extras for each in extra)]


def package(requirement: str) -> str:
    name = re.match(r"[\w.-]+", requirement)
    assert name
    return name[0]


def test_notice_names_the_copyleft_libraries_inside_wheels() -> None:
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    libraries = set()
    for name in {package(r) for r in requirements()} | {"PyQt6-Qt6"}:
        try:
            paths = files(name) or []
        except PackageNotFoundError:
            continue
        for path in paths:
            library = next((key for key in COPYLEFT if path.name.startswith(key)), None)
            if library and re.search(r"\.(so|dylib|dll)\b", path.name):
                libraries.add(library)
    assert libraries, "no wheel contains any of them: has their layout changed?"
    assert {name for name in libraries if not re.search(rf"\b{COPYLEFT[name]}\b", notice)} == set()


def test_every_requirement_has_a_lower_bound_that_the_oldest_install_can_use() -> None:
    path = ROOT / "scripts" / "oldest.py"
    spec = importlib.util.spec_from_file_location("oldest", path)
    assert spec
    assert spec.loader
    oldest: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(oldest)
    for extra in PROJECT["optional-dependencies"].keys() - {"all"}:
        assert oldest.oldest(PROJECT, [extra])["numpy"] == "1.26"
    assert oldest.oldest(PROJECT, ["zarr"])["tifffile"] == "2025.5.21"  # the later of two bounds
    with pytest.raises(ValueError, match="numpy has no lower bound"):
        oldest.oldest({**PROJECT, "dependencies": ["numpy"]}, [])


def test_the_conda_recipe_has_the_bounds_of_pyproject() -> None:
    path = ROOT / "packaging" / "conda-forge" / "recipe.yaml"
    recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    needs = recipe["requirements"]
    renamed = {"torch": "pytorch"}
    wanted = {
        renamed.get(package(r), package(r)): r.partition(">=")[2] for r in PROJECT["dependencies"]
    }
    found = dict(r.split(" >=") for r in needs["run"])
    assert found.pop("python") == "${{ python_min }}"
    assert found == wanted
    assert f">={recipe['context']['python_min']}" == PROJECT["requires-python"]
    bounds: dict[str, set[str]] = {}
    for requirement in requirements():
        bounds.setdefault(package(requirement), set()).add(requirement.partition(">=")[2])
    for constraint in needs["run_constraints"]:
        name, bound = constraint.split(" >=")
        assert bound in bounds[name], name
    (command,) = recipe["build"]["python"]["entry_points"]
    name, target = command.split(" = ")
    assert PROJECT["scripts"] == {name: target}


def test_the_listed_versions_satisfy_the_bounds() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()[1:]
    names = [line.split("==")[0].lower().replace("_", "-") for line in lines]
    assert len(names) == len(set(names))
    listed = dict(zip(names, lines, strict=True))
    for requirement in requirements():
        assert package(requirement).lower().replace("_", "-") in {*listed, "napari-dcr"}, (
            requirement
        )


@pytest.mark.parametrize("form", ["fault", "wish"])
def test_issue_forms_ask_for_the_output_of_info(form: str) -> None:
    path = ROOT / ".github" / "ISSUE_TEMPLATE" / f"{form}.yml"
    if not path.exists():
        pytest.skip("an sdist has no issue forms")
    body = yaml.safe_load(path.read_text(encoding="utf-8"))["body"]
    assert any("napari-dcr info" in part["attributes"]["label"] for part in body)


def test_the_citation_names_no_version_of_its_own() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["license"] == PROJECT["license"]
    assert "version" not in citation  # tags are the only source of the version
    assert version("napari-dcr")
