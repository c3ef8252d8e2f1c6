"""Tests of the export to other software."""
