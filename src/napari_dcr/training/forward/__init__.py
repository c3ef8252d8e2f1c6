"""Forward models: what cameras and microscopes make of a scene."""
