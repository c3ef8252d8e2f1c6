"""Tests of the project's language: excluded phrases, overlong sentences, first lines of docstrings."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PHRASES = (
    "what there is",
    "what it takes",
    "so many",
    "the other side of each",
    "whoever",
    "place of its own",
    "goes the direct way",
    "what only",
    "go on with",
    "goes on with",
    "gone on with",
    "hands out",
    "what nobody",
    "nobody asked",
    "the way to",
    "said once",
    "is told of",
    "tells nobody",
    "for people",
    "what is at hand",
    "light is moved",
    "never made",
    "what all",
    "what becomes of",
    "what became of",
    "ask yourself",
    "one door",
    "what one should",
    "comes back as it is",
    "come back as they are",
    "refused by name",
    "at hand",
    "for the eye",
    "to look at",
    "are believed",
    "heeds",
    "nobody",
    "guess before this",
    "looks at",
    "stood still",
    "stand still",
    "stands still",
    "anew",
    "same door",
    "put in its place",
    "put in their places",
    "so wide",
    "what was seen",
    "what speaks against",
    "what it says",
    "what they say",
    "under way",
    "of all of it",
    "to and fro",
    "again and again",
    "taken out",
    "taken away",
    "take away",
    "takes out",
    "tell apart",
    "told apart",
    "be told",
    "as they came",
    "out against in",
    "from nothing",
    "went on",
    "goes on",
    "gone on",
    "left alone",
    "ever more",
    "given up",
    "help each other",
    "helps each other",
    "one's own",
    "taken for",
    "come back unchanged",
    "comes back unchanged",
    "come back nearly",
    "comes back nearly",
    "is told",
    "was told",
    "keep their place",
    "keeps its place",
    "whatever",
    "stands in",
    "stand in",
    "nothing but",
    "goes by",
    "hear of",
    "sees black",
    "best peer",
    "proves it",
    "says that it has",
    "leaves them alone",
    "is one line",
    "comes exactly",
    "what cannot be",
)
"""Phrases whose meaning a reader has to guess; each of them was once used in this project."""

LONGEST = 40
"""Largest number of words of a sentence in README and docs."""

SUFFIXES = {".py", ".md", ".toml", ".sh", ".yaml", ".ini", ""}


def pages(*roots: str) -> Iterator[Path]:
    """Yield the files whose text is checked."""
    for root in roots:
        path = ROOT / root
        files = [path] if path.is_file() else sorted(path.rglob("*"))
        yield from (
            f for f in files if f.is_file() and f.suffix in SUFFIXES and f != Path(__file__)
        )


SPACE = r"""["']?\s+(?:#\s+|f?["']\s*)?"""
"""Pattern of the space between two words, which may be a line break in a comment or in a message."""


def excluded(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line number and the text of each excluded phrase, in the names of tests, too."""
    text = re.sub(r"\bdef test_\w+", lambda m: m[0].replace("_", " "), text)
    phrases = "|".join(SPACE.join(map(re.escape, phrase.split())) for phrase in PHRASES)
    for found in re.finditer(rf"\b(?:{phrases})\b", text, re.IGNORECASE):
        yield text.count("\n", 0, found.start()) + 1, " ".join(found[0].split())


def test_no_excluded_phrase_occurs() -> None:
    roots = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs", "src", "tests", "benchmarks")
    found = [
        f"{page.relative_to(ROOT)}:{line}: {phrase}"
        for page in pages(*roots, "scripts", "findings", "weights")
        for line, phrase in excluded(page.read_text("utf-8"))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "# It is told\n    # apart.",
        'raise ValueError("this is left"\n    " alone")',
        "def test_nothing_starts_anew() -> None:",
    ],
)
def test_phrases_are_found_in_wrapped_lines_and_in_test_names(text: str) -> None:
    assert len(list(excluded(text))) == 1


def sentences(page: Path) -> Iterator[str]:
    """Yield the sentences of a Markdown page, without code and without the targets of links."""
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    text = re.sub(r"`[^`]*`(, `[^`]*`)*", "code", re.sub(r"\]\([^)]*\)", "]", text))
    for block in re.split(r"\n\s*\n|\n[-*|#\d]|\|", text):
        yield from re.split(r"(?<=[.!?])\s+", block.replace("\n", " "))


@pytest.mark.parametrize("page", list(pages("README.md", "docs")), ids=lambda p: p.name)
def test_no_sentence_is_too_long(page: Path) -> None:
    if page.suffix != ".md":
        pytest.skip("no prose")
    found = [s for s in sentences(page) if len(re.findall(r"[A-Za-z]{2,}", s)) > LONGEST]
    assert not found, "\n".join(found)


def public(tree: ast.Module) -> Iterator[tuple[str, str | None]]:
    """Yield the public names of a module with their docstrings."""
    yield "module", ast.get_docstring(tree)
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in tree.body:
        if isinstance(node, kinds) and not node.name.startswith("_"):
            yield node.name, ast.get_docstring(node)
            for each in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(each, kinds) and not each.name.startswith("_"):
                    yield f"{node.name}.{each.name}", ast.get_docstring(each)


def test_the_first_line_of_a_docstring_is_a_sentence() -> None:
    found = []
    for page in pages("src"):
        if page.suffix != ".py":
            continue
        for name, text in public(ast.parse(page.read_text("utf-8"))):
            if text is None:
                continue  # ruff reports missing docstrings
            first = inspect.cleandoc(text).splitlines()[0]
            if not (first.endswith(".") and (first[0].isupper() or first[0] in '*`"0123456789')):
                found.append(f"{page.relative_to(ROOT)}: {name}: {first}")
    assert not found, "\n".join(found)
