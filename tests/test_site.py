"""The documentation site: its lists are complete and its links lead somewhere."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

import napari_dcr

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
FINDINGS = ROOT / "findings"

# An sdist has the tests and the guide only.
pytestmark = pytest.mark.skipif(not FINDINGS.exists(), reason="not a checkout of the repository")


def test_the_reference_lists_every_public_name() -> None:
    page = (DOCS / "api.md").read_text("utf-8")
    listed = re.findall(r"^   (\w+)$", page, re.MULTILINE)
    assert sorted([*listed, "__version__"]) == sorted(napari_dcr.__all__)


def test_every_finding_says_what_is_done_about_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS / "_extensions"))
    sys.modules.pop("findings_table", None)
    import findings_table

    found = list(findings_table.findings())
    assert [f.path for f in found] == sorted(FINDINGS.glob("*.sh"))
    assert [f.name for f in found if not f.response] == [], "add a sentence 'What we do: ...'"
    assert findings_table.table().count("\n") == len(found) + 2


def test_recorded_runs_are_those_of_scripts_that_exist() -> None:
    records = json.loads((FINDINGS / "last-runs.json").read_text("utf-8"))
    assert set(records) <= {path.stem for path in FINDINGS.glob("*.sh")}
    assert {record["outcome"] for record in records.values()} <= {"seen", "not seen"}


PAGES = [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "weights").glob("*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_relative_links_lead_to_files(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text)]
    files = [link for link in links if link and ":" not in link]
    generated = [link for link in files if link.endswith("gallery/index.md")]
    missing = [f for f in files if f not in generated and not (page.parent / f).exists()]
    assert missing == []
