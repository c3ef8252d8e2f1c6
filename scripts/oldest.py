"""Print the oldest versions that pyproject.toml allows, as constraints for pip.

    python scripts/oldest.py [EXTRA ...]

Lists the packages of a plain install and of the given extras; ``base`` means no extra.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

BOUND = re.compile(r"([\w.-]+)(?:\[[\w,]+\])?\s*>=\s*([\w.]+)")
"""A requirement with a lower bound: its name and the bound."""


def oldest(project: dict[str, object], extras: list[str]) -> dict[str, str]:
    """Oldest version of each package, by its name.

    Parameters
    ----------
    project : dict
        The table ``project`` of pyproject.toml.
    extras : list of str
        Extras to include.

    Raises
    ------
    ValueError
        If a requirement has no lower bound.
    """
    optional = project["optional-dependencies"]
    assert isinstance(optional, dict)
    versions: dict[str, str] = {}
    for requirement in [*project["dependencies"], *(r for e in extras for r in optional[e])]:  # type: ignore[misc]
        found = BOUND.match(requirement)
        if found is None:
            raise ValueError(f"pyproject.toml: {requirement} has no lower bound")
        name, version = found.groups()
        # An extra may need a later version than a plain install.
        numbers = [int(part) for part in version.split(".")]
        if name not in versions or numbers > [int(p) for p in versions[name].split(".")]:
            versions[name] = version
    return versions


def main() -> None:
    """Print one constraint a line."""
    extras = [extra for extra in sys.argv[1:] if extra != "base"]
    path = Path(__file__).parents[1] / "pyproject.toml"
    project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    for name, version in sorted(oldest(project, extras).items()):
        print(f"{name}=={version}")


if __name__ == "__main__":
    main()
