"""Training: pairs, losses and the loop. Needs the extra ``train``."""
