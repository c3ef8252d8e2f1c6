"""A small panel with a result's report: what became of the intensities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QLabel, QSizePolicy, QVBoxLayout, QWidget

MARGIN = 6
"""Pixels around the plot."""


class MeansPlot(QWidget):  # type: ignore[misc]
    """Block means, result against input, with the line on which nothing has changed."""

    def __init__(self) -> None:
        super().__init__()
        self._points: list[tuple[float, float]] = []
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip(
            "Means of 16 x 16 pixels: input to the right, result upwards. On the line intensities"
            " are kept."
        )

    def sizeHint(self) -> QSize:
        """As wide as there is room."""
        return QSize(200, 90)

    def show_points(self, points: Sequence[Sequence[float]]) -> None:
        """Draw other means."""
        self._points = [(float(x), float(y)) for x, y in points]
        self.update()

    def paintEvent(self, _: QPaintEvent | None) -> None:
        """Draw line and points in the theme's own colour."""
        if not self._points:
            return
        values = [value for point in self._points for value in point]
        low, high = min(values), max(values)
        span = (high - low) or 1.0
        area = QRectF(self.rect()).adjusted(MARGIN, MARGIN, -MARGIN, -MARGIN)

        def place(x: float, y: float) -> QPointF:
            return QPointF(
                area.left() + area.width() * (x - low) / span,
                area.bottom() - area.height() * (y - low) / span,
            )

        with_text = self.palette().text().color()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        faint = QPen(with_text)
        faint.setStyle(Qt.PenStyle.DashLine)
        painter.setOpacity(0.6)
        painter.setPen(faint)
        painter.drawLine(place(low, low), place(high, high))
        painter.setOpacity(0.9)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(with_text)
        for x, y in self._points:
            painter.drawEllipse(place(x, y), 1.6, 1.6)
        painter.end()


class ReportPanel(QWidget):  # type: ignore[misc]
    """Plot and figures of the report of a result, and its defects; hidden where there are none."""

    def __init__(self) -> None:
        super().__init__()
        self.plot = MeansPlot()
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.text.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.plot)
        column.addWidget(self.text)
        self.setVisible(False)

    def show_record(self, record: dict[str, Any] | None) -> None:
        """Show the reports, and the defects that were corrected, of a result's record."""
        reports = record.get("reports", []) if record else []
        lines = [summary(number, report, len(reports)) for number, report in enumerate(reports)]
        defects = record.get("defects", []) if record else []
        lines += [f"corrected: {found['found']}" for found in defects if not reports]
        self.setVisible(bool(lines))
        self.plot.setVisible(bool(reports))
        self.plot.show_points([point for report in reports for point in report["means"]])
        self.text.setText("\n".join(dict.fromkeys(lines)))


def summary(channel: int, report: dict[str, Any], channels: int) -> str:
    """One report in a few lines.

    Examples
    --------
    >>> print(summary(0, {"slope": 0.998, "total_ratio": 1.0003, "noise_before": 12.3,
    ...     "noise_after": 1.1, "saturated": 0.0, "warnings": []}, 1))
    slope 0.998, sum 1.000, noise 12 to 1.1
    """
    parts = [
        f"slope {report['slope']:.3f}",
        f"sum {report['total_ratio']:.3f}",
        f"noise {report['noise_before']:.2g} to {report['noise_after']:.2g}",
    ]
    if report["saturated"]:
        parts.append(f"{report['saturated']:.2%} saturated")
    text = ", ".join(parts)
    if channels > 1:
        text = f"channel {channel + 1}: {text}"
    if report.get("corrected"):
        text += f"\ncorrected: {report['corrected']}"
    return "\n".join([text, *(f"! {warning}" for warning in report["warnings"])])
