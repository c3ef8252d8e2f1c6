"""The napari plugin: the widget, its commands, result layers and sample data."""
