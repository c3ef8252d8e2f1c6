"""Cards and headers of weights, read without torch."""

from __future__ import annotations

from pathlib import Path

from napari_dcr.network import cards


def test_cards_of_shipped_weights_say_what_they_are_for() -> None:
    for path in cards.shipped().values():
        assert cards.purpose(path)
    assert cards.purpose(Path("none.safetensors")) == ""


def test_headers_tell_which_weights_keep_intensities(
    lively_model: Path, lively_counts: Path, tmp_path: Path
) -> None:
    assert cards.keeps_intensities(lively_counts)
    assert not cards.keeps_intensities(lively_model)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"\xff" * 40)
    assert not cards.keeps_intensities(broken)
    assert not cards.keeps_intensities(tmp_path / "none.safetensors")
