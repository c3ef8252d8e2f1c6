"""Result layers of a viewer, with the layers that they were made from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

from napari_dcr.plugin.helper_layers import is_helper
from napari_dcr.plugin.layers import RECORD, result_layer, side_layers, stages_layer
from napari_dcr.plugin.pixels import is_lazy, layer_pixels, layer_shape

if TYPE_CHECKING:
    from napari.layers import Image, Layer
    from napari.viewer import Viewer

    from napari_dcr.plugin.helper_layers import HelperLayers
    from napari_dcr.plugin.run import Product


class Results:
    """Adds results to a viewer, and finds them again.

    Parameters
    ----------
    viewer : Viewer
    helpers : HelperLayers
        Removes layers of that viewer one at a time.

    Attributes
    ----------
    pairs : list of tuple of Image
        Source and result that are both in the viewer, the newest pair last.
    last_record : dict or None
        Record of the newest result, which may have the outputs of all stages.
    """

    def __init__(self, viewer: Viewer, helpers: HelperLayers) -> None:
        self._viewer, self._helpers = viewer, helpers
        self._side_layers: WeakKeyDictionary[Image, list[Image]] = WeakKeyDictionary()
        self._outdated: WeakSet[Image] = WeakSet()
        self.pairs: list[tuple[Image, Image]] = []
        self.last_record: dict[str, Any] | None = None

    def add(self, product: Product, *, replace_last: bool) -> Image:
        """Add the layers of a result and select the result itself.

        Parameters
        ----------
        product : Product
            Result of a finished job.
        replace_last : bool
            Whether to remove the last result of the same source.

        Returns
        -------
        Image
            Layer of the result. Residual, uncertainty and defects are further layers, hidden.
        """
        job = product.job
        make = stages_layer if job.stages else result_layer
        data, arguments, _ = make(job.layer, product.enhancement, job.region)
        if job.stages:
            arguments["units"] = self._units_of_stages(arguments["units"])
        result = self._viewer.add_image(data, **arguments)
        beside = [
            self._viewer.add_image(pixels, **shown, visible=False)
            for pixels, shown, _ in side_layers(job.layer, product.enhancement)
        ]
        if not job.is_current:
            self._outdated.add(result)
        elif not job.stages and job.layer in self._viewer.layers:
            if replace_last:
                self._take_place_of_last(job.layer, [result, *beside])
            self.pairs.append((job.layer, result))
            self._side_layers[result] = beside
        self.last_record = result.metadata[RECORD]
        self._viewer.layers.selection.active = result
        return result

    def _units_of_stages(self, units: Sequence[Any]) -> tuple[Any, ...]:
        """Units of a layer of stages whose first axis has the unit of that axis in the viewer.

        If the units of an axis cannot be converted into one another, napari uses no units at all.
        """
        shown = getattr(self._viewer.dims, "units", None) or ()
        return (shown[-len(units)], *units[1:]) if len(shown) >= len(units) else tuple(units)

    def _take_place_of_last(self, source: Image, new: Sequence[Image]) -> None:
        """Move new layers to where the last result of a source is, and remove that."""
        results = [result for of, result in self.pairs if of is source]
        if not results:
            return
        last, layers = results[-1], self._viewer.layers
        for number, layer in enumerate(new):
            layers.move(layers.index(layer), layers.index(last) + 1 + number)
        for layer in [last, *self._side_layers.pop(last, [])]:
            self._helpers.remove(layer)

    def describe(self, result: Image, seconds: str) -> str:
        """Sentences on what a run has added.

        Parameters
        ----------
        result : Image
            Layer that `add` has returned.
        seconds : str
            How long the run took, with its unit.
        """
        record = result.metadata[RECORD]
        if "stages" in record:
            text = (
                f"Done in {seconds}; use the 'stage' slider to compare depths 0 to"
                f" {record['depth']}."
            )
        elif "path" in record:
            text = f"Saved to {Path(record['path']).name} ({seconds})."
        elif is_lazy(layer_pixels(result)):
            text = "Ready: frames are computed as you look at them."
        else:
            text = f"Done in {seconds}."
        if result in self._outdated:
            text += " The layer was given other pixels during the run; this is the result for the earlier ones."
        if "denoise_first" in record:
            text += " White noise was removed first."
        if "noise" in record and "region" in record and "stages" not in record:
            text += " Choose the region 'all' for a verdict on noise and intensities."
        if "neighbours" in record:
            text += describe_neighbours(record["neighbours"])
        hidden = [x.metadata[RECORD]["quantity"] for x in self._side_layers.get(result, [])]
        if hidden:
            text += f" {' and '.join(hidden).capitalize()}: in the layer list, hidden."
        return text

    def forget_removed(self) -> None:
        """Forget the pairs of which a layer is no longer in the viewer."""
        layers = self._viewer.layers
        self.pairs = [pair for pair in self.pairs if all(x in layers for x in pair)]

    def newest(self, layer: Image | None) -> tuple[Image, Image] | None:
        """Newest pair that a layer is in, as the source or as the result.

        Pairs whose source has been given pixels of another shape are left out.
        """
        return next((pair for pair in self.pairs[::-1] if layer in pair and _fit(*pair)), None)

    def record_to_show(self, layers: Sequence[Layer | None], source: Image | None) -> Any:
        """Record of the first of some layers that is a result, else of the newest of a source."""
        for layer in layers:
            if layer is not None and RECORD in layer.metadata and not is_helper(layer):
                return layer.metadata[RECORD]
        of_source = [result for of, result in self.pairs if of is source]
        return of_source[-1].metadata[RECORD] if of_source else None


def describe_neighbours(used: dict[str, Any]) -> str:
    """Sentence about the neighbouring frames that a record names."""
    averaged = used.get("averaged")
    if averaged is None:
        return " Neighbouring frames along {axis} helped.".format(**used)
    if averaged == 1:
        return " No neighbouring frame along {axis} matched.".format(**used)
    return " Pixels are means of {averaged:.1f} frames along {axis}.".format(**used)


def _fit(source: Image, result: Image) -> bool:
    """Whether a result shows a region that its source still has."""
    record, shape, shown = result.metadata[RECORD], layer_shape(source), layer_shape(result)
    if "region" not in record:
        return shape == shown
    spans = record["region"]
    return len(spans) == len(shape) and all(
        stop <= size for (_, stop), size in zip(spans, shape, strict=True)
    )
