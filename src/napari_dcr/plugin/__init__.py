"""napari's side: the widget, layers in and out, sample data."""
