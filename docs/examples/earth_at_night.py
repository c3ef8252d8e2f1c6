"""
Cities at night
===============

A photograph from orbit (NASA, public domain) that comes with the package. `photo` brightens the dimly
lit coast. The black of space and the bright lamps hardly change.
"""

# sphinx_gallery_thumbnail_number = 2
import napari_dcr
from napari_dcr.plugin.samples import earth_at_night

((before, _, _),) = earth_at_night()
after = napari_dcr.enhance(before)
