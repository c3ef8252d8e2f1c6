"""Configuration of the documentation site: `tox run -e docs` builds it into build/site."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE / "_extensions"))

import findings_table  # noqa: E402

import napari_dcr  # noqa: E402

project = "napari-dcr"
author = "the napari-dcr founders"
version = release = napari_dcr.__version__

extensions = [
    "before_after",
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = [
    "examples",
    "gallery/*.ipynb",
    "**/sg_execution_times.rst",
    "sg_execution_times.rst",
]
templates_path = ["_templates"]
default_role = "autolink"  # links names of objects, and sets other names in italics

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
suppress_warnings = [
    "config.cache"
]  # some settings of the gallery are functions, which cannot be cached

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc shows the types that the docstrings state
numpydoc_show_class_members = False
python_maximum_signature_line_length = 80

html_theme = "pydata_sphinx_theme"
html_title = f"napari-dcr {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["before-after.js"]
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": project},  # the title with its version is too long for narrow screens
    "show_prev_next": True,
    "navigation_with_keys": False,
    "header_links_before_dropdown": 8,
    "navbar_align": "left",
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": ["release"],
}
html_sidebars = {"index": [], "getting-started": [], "faq": [], "limits": [], "CHANGELOG": []}
copyright = author  # noqa: A001

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r".*\.py",
    "image_scrapers": ("before_after.scrape",),
    "reset_modules": (),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "min_reported_time": 3600,
    "remove_config_comments": True,
    "write_computation_times": False,
}

PAGES_ELSEWHERE = {
    "CHANGELOG.md": "changelog",
    "CONTRIBUTING.md": "contributing",
    "weights/microscopy.md": "cards/microscopy",
    "weights/photo.md": "cards/photo",
}
"""Pages of the site that are stored outside docs/, and their names in the site."""

SOURCE = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"].get(
    "Source"
)
"""Address of the repository. Without it, links to files of the repository become downloads."""

FINDINGS = re.compile("<!-- the table of all scripts.*-->")
"""Comment in the page of findings that is replaced by their table."""


def read_page(app: Sphinx, docname: str, source: list[str]) -> None:
    """Insert pages that are stored outside docs/, and change links to the addresses of the site."""
    stored_at = {page: path for path, page in PAGES_ELSEWHERE.items()}
    path = Path(app.env.doc2path(docname))
    if path.suffix != ".md":
        return
    if docname in stored_at:
        path = ROOT / stored_at[docname]
        source[0] = path.read_text("utf-8")
    depth = docname.count("/")
    source[0] = FINDINGS.sub(lambda _: findings_table.table(), source[0])

    def to_site(match: re.Match[str]) -> str:
        file, _, anchor = match[1].partition("#")
        target = (path.parent / file).resolve()
        if not file or ":" in file or not target.is_relative_to(ROOT):
            return match[0]
        name = target.relative_to(ROOT).as_posix()
        anchor = anchor and f"#{anchor}"
        if name in PAGES_ELSEWHERE:
            return f"]({'../' * depth}{PAGES_ELSEWHERE[name]}.md{anchor})"
        if target.is_relative_to(HERE):
            return f"]({'../' * depth}{target.relative_to(HERE).as_posix()}{anchor})"
        if SOURCE and target.exists():
            return f"]({SOURCE}/blob/main/{name}{anchor})"
        return f"]({'../' * (depth + 1)}{name}{anchor})"

    source[0] = re.sub(r"\]\(([^)\s]+)\)", to_site, source[0])


def setup(app: Sphinx) -> None:
    """Register `read_page` with Sphinx."""
    app.connect("source-read", read_page)
