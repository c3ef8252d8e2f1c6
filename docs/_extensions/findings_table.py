"""Table of the project's findings, read from the first comment of each script in findings/."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "findings"

LAST_RUNS = FOLDER / "last-runs.json"
"""Day and outcome of the last run of each script, recorded by `scripts/findings run`."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """A script in findings/, with the content of its first comment.

    Attributes
    ----------
    path : Path
    library : str
        Name and version of the library.
    surprise : str
        What the library does.
    response : str
        What this project does about it; empty if the script does not state it.
    last_run : str
        Day and outcome of the last run.
    """

    path: Path
    library: str
    surprise: str
    response: str
    last_run: str

    @property
    def name(self) -> str:
        """Name of the script without its suffix."""
        return self.path.stem


def findings() -> Iterator[Finding]:
    """Yield all findings in alphabetical order.

    Raises
    ------
    ValueError
        If a script does not begin with library, version and behaviour.
    """
    records = json.loads(LAST_RUNS.read_text("utf-8")) if LAST_RUNS.exists() else {}
    for path in sorted(FOLDER.glob("*.sh")):
        comment = re.match(r"#!.*\n((?:#.*\n)+)", path.read_text("utf-8"))
        text = re.sub(r"^# ?", "", comment[1] if comment else "", flags=re.MULTILINE)
        paragraphs = [" ".join(p.split()) for p in text.split("\n\n")]
        summary = re.match(
            r"(\S+ \d\S*?(?: \([^)]*\))?)(?::|(?= ))\s*(.*?[.])(?: [A-Z]|$)", paragraphs[0]
        )
        response = next(filter(None, (re.search(r"What we do: (.*)", p) for p in paragraphs)), None)
        if summary is None:
            raise ValueError(
                f"{path.name}: its comment must begin with 'LIBRARY VERSION: what it does'"
            )
        action = response[1] if response else ""
        yield Finding(path, summary[1], summary[2], action, _last_run(records, path))


def digest(path: Path) -> str:
    """SHA-256 of a script without its first comment."""
    code = re.sub(r"\A(#.*\n)+", "", path.read_text("utf-8"))
    return hashlib.sha256(code.encode()).hexdigest()


def _last_run(records: dict[str, dict[str, str]], path: Path) -> str:
    record = records.get(path.stem)
    if record is None:
        return "never recorded"
    changed = record["sha256"] != digest(path)
    return f"{record['day']}, {record['outcome']}{' (changed since)' if changed else ''}"


def table() -> str:
    """Return the findings as a Markdown table."""
    rows = ["| library | what it does | what we do about it | last run |", "|---|---|---|---|"]
    for each in findings():
        script = f"[{each.library}](../findings/{each.path.name})"
        texts = (text[:1].upper() + text[1:] for text in (each.surprise, each.response))
        cells = script, *texts, each.last_run
        rows.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"
