"""Training: camera, pairs, losses, loop, metrics. Needs the extra ``train``."""
