"""The engine: how an image is enhanced, whatever it came from."""
