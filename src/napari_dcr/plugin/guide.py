"""The user guide in a separate window; it is part of the package and needs no network."""

from __future__ import annotations

import re
from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QTextBrowser, QVBoxLayout, QWidget

GUIDE = Path(__file__).with_name("user-guide.md")
"""Symbolic link to docs/user-guide.md."""

SIZE = 820, 640
"""Width and height of the window in pixels."""


def guide_text() -> str:
    """The guide in Markdown, without pictures, and without links to pages outside the package."""
    text = re.sub(r"^!\[.*?\]\(.*?\)\n", "", GUIDE.read_text("utf-8"), flags=re.MULTILINE)
    return re.sub(r"\[([^\]]*)\]\((?!https?:)[^)]*\)", r"\1", text)


def show_guide(parent: QWidget) -> QDialog:
    """Open the guide beside the window of a widget, which stays usable."""
    dialog = QDialog(parent.window(), Qt.WindowType.Window)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.setWindowTitle("Low light: user guide")
    page = QTextBrowser(dialog)
    page.setOpenExternalLinks(True)
    page.setMarkdown(guide_text())
    column = QVBoxLayout(dialog)
    column.setContentsMargins(0, 0, 0, 0)
    column.addWidget(page)
    dialog.resize(*SIZE)
    dialog.show()
    return dialog
