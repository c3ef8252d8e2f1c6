"""Paths and arrays in, paths and arrays out: one file for each family of formats."""
