"""Before and after in one place, at the same contrast limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_dcr.plugin.layers import HELPER, RECORD, kept_state

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.viewer import Viewer


class Comparison:
    """Shows the source over its result, up to a line that can be moved.

    The source layer is not touched: a layer of its own shows the same array
    (no copy), in the result's contrast limits.  Automatic limits would make a
    dim image look like its enhancement.

    Parameters
    ----------
    viewer : Viewer
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._before: Image | None = None
        self._result: Image | None = None
        self._source: Image | None = None

    @property
    def layer(self) -> Image | None:
        """The layer that shows the source, while there is one."""
        return self._before

    def show(self, source: Image, result: Image, share: float) -> None:
        """Show the source over the left ``share`` of a result's width, 0 to 1."""
        record = result.metadata[RECORD]
        pixels = _left_part(source, record, share)
        if pixels is None:
            self.hide()
            return
        if self._before not in self._viewer.layers:  # deleted by hand
            self.hide()
        if self._before is not None and (source, result) == (self._source, self._result):
            self._before.data = pixels
            self._before.translate = result.translate
            return
        self.hide()
        self._source, self._result = source, result
        state = kept_state(source)
        state["translate"] = result.translate
        if not source.rgb:
            state["contrast_limits"] = result.contrast_limits
        selected = set(self._viewer.layers.selection)
        self._before = self._viewer.add_image(
            pixels, **state, name=f"{source.name} [before]", metadata={HELPER: "before"}
        )
        self._viewer.layers.selection = selected
        result.events.contrast_limits.connect(self._share_limits)

    def hide(self) -> None:
        """Take the source away again."""
        if self._result is not None:
            self._result.events.contrast_limits.disconnect(self._share_limits)
        before, self._before, self._result, self._source = self._before, None, None, None
        if before is not None and before in self._viewer.layers:
            self._viewer.layers.remove(before)

    def _share_limits(self, _: object = None) -> None:
        if self._before is not None and self._result is not None and not self._before.rgb:
            self._before.contrast_limits = self._result.contrast_limits


def _left_part(source: Image, record: dict[str, Any], share: float) -> Any:
    """The left ``share`` of what a result was made from, or None if that is nothing."""
    axis = record["axes"].index("x")
    if "region" in record:
        region = [slice(*span) for span in record["region"]]
        levels = [source.data[0] if source.multiscale else source.data]
    else:
        levels = list(source.data) if source.multiscale else [source.data]
        region = [slice(0, n) for n in levels[0].shape]
    start, stop = region[axis].start, region[axis].stop
    width = min(stop - start, round((stop - start) * share))
    if width <= 0:
        return None
    parts = []
    for level in levels:
        # Of coarser levels the same part; one pixel at least.
        zoom = level.shape[axis] / levels[0].shape[axis]
        region[axis] = slice(start, start + max(1, round(width * zoom)))
        whole = [slice(None)] * len(region) if "region" not in record else region
        index = [*whole]
        index[axis] = region[axis]
        parts.append(level[tuple(index)])
    return parts if len(parts) > 1 else parts[0]
