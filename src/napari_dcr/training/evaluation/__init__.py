"""Evaluation: data sets, metrics, guard rails and checks of trained weights."""
