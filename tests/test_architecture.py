"""The layout: imports point down, and docs/architecture.md names every module."""

from __future__ import annotations

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import napari_dcr

PACKAGE = Path(napari_dcr.__file__).parent
MAP = Path(__file__).parents[1] / "docs" / "architecture.md"

FLOORS = [
    {"version", "input_warnings", "image"},
    {"options", "network"},
    {"engine"},
    {"io"},
    {"enhancement"},
    {"batch"},
    {"plugin", "cli"},
    {"training"},
]
"""Rooms of the package, from the bottom; a module imports from its own room and from floors below."""

PAIRS = 37
"""Pairs of rooms of which one imports from the other; 40 before files had a room of their own.
Three are those of warnings, which every way in gives, one the version that FITS files name, and six
those of the batch that the shell and the window share."""


def modules(package: Path = PACKAGE) -> dict[str, Path]:
    """Dotted names within the package, and their files."""
    paths = {p.relative_to(package).with_suffix("").parts: p for p in package.rglob("*.py")}
    return {".".join(p for p in parts if p != "__init__"): path for parts, path in paths.items()}


def imports(path: Path, known: set[str]) -> set[str]:
    """Modules of the package that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name == "napari_dcr" or name.startswith("napari_dcr."):
                found.add(_resolved(name.removeprefix("napari_dcr").removeprefix("."), known))
    return found


def _resolved(name: str, known: set[str]) -> str:
    """The module that a dotted name is, or is in; what the package itself offers is the door's."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name or "enhancement"


def graph(package: Path = PACKAGE) -> dict[str, set[str]]:
    """The modules that each module imports; the package itself only offers names."""
    found = modules(package)
    known = set(found)
    return {name: imports(path, known) - {name} for name, path in found.items() if name}


def room(module: str) -> str:
    """Top-level file or folder of the package that a module is in."""
    return module.partition(".")[0]


def room_pairs(edges: dict[str, set[str]]) -> set[tuple[str, str]]:
    """Rooms of which the first imports from the second."""
    pairs = {(room(module), room(other)) for module, others in edges.items() for other in others}
    return {(a, b) for a, b in pairs if a != b}


def test_imports_point_down() -> None:
    floor = {name: number for number, rooms in enumerate(FLOORS) for name in rooms}
    upward = [f"{a} -> {b}" for a, b in sorted(room_pairs(graph())) if floor[b] >= floor[a]]
    assert upward == []


def test_every_room_has_a_floor() -> None:
    assert {room(module) for module in graph()} == set().union(*FLOORS)


def test_there_is_no_cycle() -> None:
    try:
        TopologicalSorter(graph()).prepare()
    except CycleError as error:
        raise AssertionError(f"modules import each other: {' -> '.join(error.args[1])}") from None


def test_rooms_depend_on_few_others() -> None:
    assert len(room_pairs(graph())) <= PAIRS


def _rows() -> list[tuple[str, list[str]]]:
    """Behaviours of the map and the files they are in."""
    lines = MAP.read_text(encoding="utf-8").splitlines()
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in lines if line[:1] == "|"]
    rows = [(c[0], re.findall(r"`([\w/]+\.py)`", c[1])) for c in cells if len(c) == 2]
    return [row for row in rows if row[1]]


def test_the_map_names_every_module_once() -> None:
    rows = _rows()
    assert 25 <= len(rows) <= 40
    named = [file for _, files in rows for file in files]
    shared = re.search(r"Shared by all: (.*)", MAP.read_text(encoding="utf-8"))
    assert shared
    named += re.findall(r"`([\w/]+\.py)`", shared.group(1))
    actual = {
        path.relative_to(PACKAGE).as_posix()
        for path in modules().values()
        if path.name != "__init__.py"
    }
    assert sorted(set(named) - actual) == []
    assert sorted(actual - set(named)) == []
    assert sorted({file for file in named if named.count(file) > 1}) == []


def test_the_map_names_every_test_file() -> None:
    """A module's tests are in the same place below tests/ as the module below the package."""
    tests = Path(__file__).parent
    folders = {p.relative_to(tests).as_posix() for p in tests.rglob("*") if p.is_dir()}
    stray = {f for f in folders if not f.endswith("__pycache__")} - {
        p.relative_to(PACKAGE).as_posix() for p in PACKAGE.rglob("*") if p.is_dir()
    }
    assert stray == set()
