"""Menu of the button *Apply to...*: the other images of the viewer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from napari.layers import Image
from qtpy.QtWidgets import QMenu, QPushButton


class ApplyMenu:
    """Menu that applies the last settings to other images.

    Parameters
    ----------
    button : QPushButton
        Button that opens the menu.
    others : callable
        Returns the images to offer, each time the menu is opened.
    apply : callable
        Called with the images that were chosen.
    """

    def __init__(
        self,
        button: QPushButton,
        others: Callable[[], Sequence[Image]],
        apply: Callable[[Sequence[Image]], None],
    ) -> None:
        self._others, self._apply = others, apply
        self.native = QMenu(button)
        self.native.aboutToShow.connect(self.fill)
        button.setMenu(self.native)

    def fill(self) -> None:
        """Offer the current images."""
        self.native.clear()
        others = list(self._others())
        for layer in others:
            self._add(layer.name, [layer])
        if len(others) > 1:
            self.native.addSeparator()
            self._add(f"all {len(others)}", others)
        if not others:
            self.native.addAction("no other image").setEnabled(False)

    def _add(self, text: str, layers: Sequence[Image]) -> None:
        action = self.native.addAction(text)
        action.triggered.connect(lambda _=False: self._apply(layers))
