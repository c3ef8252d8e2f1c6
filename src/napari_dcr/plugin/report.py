"""Panel that shows the report of a result."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from napari_dcr.image.quality import KEPT, REMOVED
from napari_dcr.plugin.form import WARNING, unfolding
from napari_dcr.plugin.scrolling import Scrolling

CHECK = unicodedata.lookup("CHECK MARK")

WHITENESS = 0.75
"""Smallest whiteness of noise that counts as white; the same as in `napari_dcr.network.weights`."""

LOWEST = 110
"""Smallest height of the panel in pixels; in low windows, a longer report is scrolled."""

MARGIN = 6
"""Margin of the plot in pixels."""


class MeansPlot(QWidget):  # type: ignore[misc]
    """Plot of block means of the result against those of the input, with the identity line."""

    def __init__(self) -> None:
        super().__init__()
        self._points: list[tuple[float, float]] = []
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip(
            "Mean of 16 x 16 pixel blocks: input (x) against result (y). Points on the line:"
            " intensity unchanged."
        )

    def sizeHint(self) -> QSize:
        """Preferred size; the width follows the layout."""
        return QSize(200, 90)

    def show_points(self, points: Sequence[Sequence[float]]) -> None:
        """Set the block means and redraw."""
        self._points = [(float(x), float(y)) for x, y in points]
        self.update()

    def paintEvent(self, _: QPaintEvent | None) -> None:
        """Draw line and points in the text colour of the theme."""
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
        painter.setPen(with_text)
        painter.drawText(area, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignBottom, "input")
        painter.drawText(area, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop, "result")
        painter.setOpacity(0.9)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(with_text)
        for x, y in self._points:
            painter.drawEllipse(place(x, y), 1.6, 1.6)
        painter.end()


class ReportPanel(QWidget):  # type: ignore[misc]
    """Verdict on a result with its plot and figures; hidden without a report."""

    def __init__(self) -> None:
        super().__init__()
        self.verdict, self.text = _words(), _words()
        self.plot = MeansPlot()
        self.more = QToolButton()
        self.more.setCheckable(True)
        self.more.setToolTip("Show the figures and the plot behind this verdict.")
        self.more.toggled.connect(self._show_details)
        self.details = QWidget()
        inside = QVBoxLayout(self.details)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.addWidget(self.plot)
        inside.addWidget(self.text)
        content = QWidget()
        column = QVBoxLayout(content)
        column.setContentsMargins(0, 0, 0, 0)
        outside = QVBoxLayout(self)
        outside.setContentsMargins(0, 0, 0, 0)
        outside.addWidget(Scrolling(content, LOWEST))
        row = QHBoxLayout()
        row.addWidget(self.verdict, 1)
        row.addWidget(self.more, 0, Qt.AlignmentFlag.AlignTop)
        column.addLayout(row)
        column.addWidget(self.details)
        self._show_details(False)
        self.setVisible(False)

    def _show_details(self, shown: bool) -> None:
        self.details.setVisible(shown)
        self.more.setText(unfolding("Figures", self.more.isChecked()))

    def show_record(self, record: dict[str, Any] | None) -> None:
        """Show the reports and warnings of a result's record."""
        reports = record.get("reports", []) if record else []
        notes = [] if record is None or reports else record.get("warnings", [])
        self.setVisible(bool(reports or notes))
        self.more.setVisible(bool(reports))
        if not (record and (reports or notes)):
            return
        noise = [*record.get("noise", []), *[{}] * len(reports)]
        lines = [verdict(n, r, len(reports), noise[n]) for n, r in enumerate(reports)]
        self.verdict.setText("\n".join(lines + [f"{WARNING} {note}" for note in notes]))
        self.plot.show_points([point for report in reports for point in report["means"]])
        figures = (summary(n, r, len(reports), noise[n]) for n, r in enumerate(reports))
        self.text.setText("\n".join(figures))
        self._show_details(bool(reports) and self.more.isChecked())


def _words() -> QLabel:
    label = QLabel()
    label.setWordWrap(True)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


def is_white(noise: dict[str, Any]) -> bool:
    """Whether noise is independent from pixel to pixel according to its estimate."""
    return bool(noise.get("whiteness", 1.0) >= WHITENESS)


def verdict(
    channel: int, report: dict[str, Any], channels: int, noise: dict[str, Any] | None = None
) -> str:
    """Sentence on whether intensities were kept and noise was removed, then one line per warning.

    Examples
    --------
    >>> good = {"slope": 0.998, "total_ratio": 1.0003, "noise_before": 12.3, "noise_after": 1.1,
    ...     "saturated": 0.0, "warnings": []}
    >>> verdict(0, good, 1)[2:]
    'Intensities kept, noise removed.'
    >>> verdict(0, {**good, "slope": 0.9}, 1)[2:]
    'Intensities changed; noise removed.'
    """
    kept = abs(report["slope"] - 1) <= KEPT and abs(report["total_ratio"] - 1) <= KEPT
    before, after = report["noise_before"], report["noise_after"]
    notes = [_for_the_window(note) for note in report["warnings"]]
    if np.isnan(before):  # left as it is
        sentence, good = "Left as it is.", False
    else:
        noise = noise or {}
        # The finest detail does not measure noise that is correlated between pixels.
        binned = max(noise.get("binning", (1, 1))) > 1
        removed = binned or (is_white(noise) and after <= REMOVED * before)
        what = "noise removed" if removed else "little noise was removed"
        if not is_white(noise):
            what += (
                f"{' although' if removed else ':'} it is correlated between neighbouring pixels"
            )
        sentence = f"Intensities {'kept,' if kept else 'changed;'} {what}."
        good = kept and removed
    sign = WARNING if not good else CHECK
    place = f"channel {channel + 1}: " if channels > 1 else ""
    fixed = [f"Corrected: {report['corrected']}."] if report.get("corrected") else []
    if neighbours := report.get("neighbours"):
        fixed.append(f"{neighbours[:1].upper()}{neighbours[1:]}.")
    lines = [f"{sign} {place}{sentence}", *fixed, *(f"{WARNING} {note}" for note in notes)]
    return "\n".join(lines)


def _for_the_window(note: str) -> str:
    """Rephrase a warning as a sentence with the labels of the widget."""
    note = note.replace("pass output='float32'", "choose the data type float32 under Advanced")
    return note[:1].upper() + note[1:] + ("" if note.endswith((".", "?")) else ".")


def summary(
    channel: int, report: dict[str, Any], channels: int, noise: dict[str, Any] | None = None
) -> str:
    """Figures of one report, in the image's units.

    Examples
    --------
    >>> print(summary(0, {"slope": 0.998, "total_ratio": 1.0003, "noise_before": 12.3,
    ...     "noise_after": 1.1, "saturated": 0.0, "warnings": []}, 1))
    slope 0.998, total 100.0 %; finest noise 12 before, 1.1 after (standard deviation, image units)
    """
    text = f"slope {report['slope']:.3f}, total {100 * report['total_ratio']:.1f} %"
    if is_white(noise or {}) and not np.isnan(report["noise_before"]):
        # Correlated noise has its least power in the finest detail, so it is not shown.
        text += (
            f"; finest noise {report['noise_before']:.2g} before, {report['noise_after']:.2g} after"
            " (standard deviation, image units)"
        )
    if report["saturated"] >= 1e-4:
        text += f"; {report['saturated']:.2%} of the pixels are saturated"
    return f"channel {channel + 1}: {text}" if channels > 1 else text
