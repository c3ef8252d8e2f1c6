"""Batches: enhance image files one after the other, for the shell and the window."""
