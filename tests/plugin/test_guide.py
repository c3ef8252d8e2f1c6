"""The user guide that comes with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from qtpy.QtWidgets import QTextBrowser

from napari_dcr.plugin.guide import GUIDE, guide_text, show_guide
from napari_dcr.plugin.widget import EnhanceWidget


def test_the_guide_is_the_documentation_page_without_external_links() -> None:
    assert GUIDE.read_text("utf-8").startswith("# User guide")
    text = guide_text()
    assert "![" not in text
    assert "](" not in text.replace("](http", "")


@pytest.mark.gui
def test_the_button_opens_the_guide(widget: EnhanceWidget, qtbot: Any) -> None:
    dialog = show_guide(widget.native)
    page = dialog.findChild(QTextBrowser)
    assert page is not None
    assert "from top to bottom" in page.toPlainText()
    dialog.close()
    widget.controls.help.native.click()
    shown = [w for w in widget.native.window().findChildren(QTextBrowser) if w.isVisible()]
    assert len(shown) == 1
    shown[0].window().close()


def test_the_page_of_a_checkout_is_that_of_the_documentation() -> None:
    page = Path(__file__).parents[2] / "docs" / "user-guide.md"
    assert not page.exists() or GUIDE.read_text("utf-8") == page.read_text("utf-8")
