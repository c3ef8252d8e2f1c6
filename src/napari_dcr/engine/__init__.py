"""The engine enhances opened images of any origin."""
