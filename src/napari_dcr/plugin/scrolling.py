"""Controls that give way where the window is low: they scroll, what is below them stays."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QFrame, QScrollArea, QSizePolicy, QStyle, QWidget

LEAST = 160
"""Pixels of height that are always left to see."""


class Scrolling(QScrollArea):  # type: ignore[misc]
    """As high as what is in it where there is room, and scrolled where there is not.

    Parameters
    ----------
    content : QWidget
    """

    def __init__(self, content: QWidget) -> None:
        super().__init__()
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidgetResizable(True)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self.setWidget(content)

    def sizeHint(self) -> QSize:
        """All of the content: its words take more lines where it is narrow."""
        content, hint = self.widget(), self.widget().sizeHint()
        if content.hasHeightForWidth():
            # Beside the bar, or a bar that is there once would be needed because it is there.
            bar = self.style().pixelMetric(QStyle.PixelMetric.PM_ScrollBarExtent)
            hint.setHeight(content.heightForWidth(self.width() - bar))
        return self._size(hint)

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Ask for another height where lines break elsewhere."""
        super().resizeEvent(event)
        self.updateGeometry()

    def minimumSizeHint(self) -> QSize:
        """The content's width, so that nothing has to be scrolled sideways."""
        least = self.widget().minimumSizeHint()
        return self._size(QSize(least.width(), min(LEAST, least.height())))

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Ask for another height when the content does."""
        if event is not None and event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return bool(super().eventFilter(watched, event))

    def _size(self, content: QSize) -> QSize:
        """With what is drawn around it: a scroll bar, and the line of napari's style."""
        viewport = self.viewport()
        return content + (self.size() - viewport.size() if viewport is not None else QSize())
