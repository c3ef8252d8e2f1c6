"""Scroll area for controls and report, so that the widget also fits into low windows."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, QSize, Qt, QTimer
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QFrame, QScrollArea, QSizePolicy, QStyle, QWidget

LEAST = 160
"""Smallest height in pixels."""


class Scrolling(QScrollArea):  # type: ignore[misc]
    """Scroll area that is as high as its content if the window has enough room.

    Parameters
    ----------
    content : QWidget
    least : int
        Smallest height in pixels, unless the content is lower.
    """

    def __init__(self, content: QWidget, least: int = LEAST) -> None:
        super().__init__()
        self._least = least
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidgetResizable(True)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self.setWidget(content)
        self._rows: tuple[QWidget, ...] = ()
        self._laid_out = QTimer(self)
        self._laid_out.setSingleShot(True)
        self._laid_out.timeout.connect(self._scroll_to_rows)

    def sizeHint(self) -> QSize:
        """Size of the content; in a narrow widget its texts need more lines."""
        hint = self.widget().sizeHint()
        return self._size(QSize(hint.width(), self._content_height()))

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Update the height, because line breaks may have changed."""
        super().resizeEvent(event)
        self.updateGeometry()

    def minimumSizeHint(self) -> QSize:
        """Minimum size with the full width of the content, so that it never scrolls sideways."""
        least = self.widget().minimumSizeHint()
        return self._size(QSize(least.width(), min(self._least, self._content_height())))

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Update the height when the content changes its own."""
        if event is not None and event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return bool(super().eventFilter(watched, event))

    def show_rows(self, first: QWidget, last: QWidget) -> None:
        """Scroll until the last of some rows is visible, but not further than to the first."""
        self._rows = (last, first)
        self._laid_out.start(0)

    def _scroll_to_rows(self) -> None:
        for row in self._rows:
            self.ensureWidgetVisible(row, 0, 0)

    def _content_height(self) -> int:
        """Height of the content at the width of the area."""
        content = self.widget()
        if not content.hasHeightForWidth():
            return int(content.sizeHint().height())
        # Subtract the bar's width; otherwise a bar, once shown, would always stay needed.
        bar = self.style().pixelMetric(QStyle.PixelMetric.PM_ScrollBarExtent)
        return int(content.heightForWidth(self.width() - bar))

    def _size(self, content: QSize) -> QSize:
        """Add the size of the scroll bar and the frame to the size of the content."""
        viewport = self.viewport()
        return content + (self.size() - viewport.size() if viewport is not None else QSize())


def scroll_to(first: QWidget, last: QWidget) -> None:
    """Scroll the area that contains some rows, which have just been shown."""
    area: QWidget | None = first
    while area is not None and not isinstance(area, Scrolling):
        area = area.parentWidget()
    if area is not None:
        area.show_rows(first, last)
