"""Architecture: imports go down only, and docs/architecture.md lists every module."""

from __future__ import annotations

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import napari_dcr

PACKAGE = Path(napari_dcr.__file__).parent
MAP = Path(__file__).parents[1] / "docs" / "architecture.md"

LAYERS = [
    {"version", "input_warnings", "image"},
    {"options", "network"},
    {"engine"},
    {"io"},
    {"enhancement"},
    {"batch"},
    {"plugin", "cli", "export"},
    {"training"},
]
"""Top-level files and folders of the package, from the lowest layer to the highest."""

PAIRS = 40
"""Largest number of pairs of top-level files or folders of which the first imports from the second."""


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
    """Module that a dotted name is, or is defined in; the package's own names come from enhancement."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name or "enhancement"


def graph(package: Path = PACKAGE) -> dict[str, set[str]]:
    """Modules that each module imports, without those of the package's `__init__`."""
    found = modules(package)
    known = set(found)
    return {name: imports(path, known) - {name} for name, path in found.items() if name}


def unit(module: str) -> str:
    """Top-level file or folder of the package that a module is in."""
    return module.partition(".")[0]


def unit_pairs(edges: dict[str, set[str]]) -> set[tuple[str, str]]:
    """Pairs of top-level files or folders of which the first imports from the second."""
    pairs = {(unit(module), unit(other)) for module, others in edges.items() for other in others}
    return {(a, b) for a, b in pairs if a != b}


def test_imports_go_down_only() -> None:
    layer = {name: number for number, names in enumerate(LAYERS) for name in names}
    upward = [f"{a} -> {b}" for a, b in sorted(unit_pairs(graph())) if layer[b] >= layer[a]]
    assert upward == []


def test_every_file_and_folder_has_a_layer() -> None:
    assert {unit(module) for module in graph()} == set().union(*LAYERS)


def test_there_is_no_import_cycle() -> None:
    try:
        TopologicalSorter(graph()).prepare()
    except CycleError as error:
        raise AssertionError(f"modules import each other: {' -> '.join(error.args[1])}") from None


def test_few_pairs_of_folders_depend_on_each_other() -> None:
    assert len(unit_pairs(graph())) <= PAIRS


def _rows() -> list[tuple[str, list[str]]]:
    """Rows of the table of behaviours: the behaviour and its files."""
    lines = MAP.read_text(encoding="utf-8").splitlines()
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in lines if line[:1] == "|"]
    rows = [(c[0], re.findall(r"`([\w/]+\.py)`", c[1])) for c in cells if len(c) == 2]
    return [row for row in rows if row[1]]


def test_the_document_lists_every_module_once() -> None:
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


def test_tests_mirror_the_source_tree() -> None:
    """A module's tests are in the same place below tests/ as the module below the package."""
    tests = Path(__file__).parent
    folders = {p.relative_to(tests).as_posix() for p in tests.rglob("*") if p.is_dir()}
    stray = {f for f in folders if not f.endswith("__pycache__")} - {
        p.relative_to(PACKAGE).as_posix() for p in PACKAGE.rglob("*") if p.is_dir()
    }
    assert stray == set()
