"""Warnings about inputs: given once, at the caller's line, and kept in the record."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

import napari_dcr
from napari_dcr.input_warnings import InputWarnings, warn


def test_a_warning_is_given_once_and_points_at_the_caller() -> None:
    found = InputWarnings()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found.add("axes: guessed")
        found.add("axes: guessed")
        found.add("channel 2/2: left as it is", channel=1)
    assert {w.category for w in caught} == {napari_dcr.InputWarning}
    assert [str(w.message) for w in caught] == ["axes: guessed", "channel 2/2: left as it is"]
    assert {Path(w.filename).name for w in caught} == {Path(__file__).name}
    assert list(found) == ["axes: guessed", "channel 2/2: left as it is"]
    assert found.of_channel(0) == ["axes: guessed"]
    assert found.of_channel(1) == list(found)


def test_warnings_can_be_made_errors() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", napari_dcr.InputWarning)
        with pytest.raises(napari_dcr.InputWarning, match="nodata"):
            warn("nodata: a doubtful value")
