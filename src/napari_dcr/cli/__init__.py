"""``napari-dcr``: enhance image files from a shell."""

from collections.abc import Sequence

from napari_dcr.cli.signals import leaving_on_signals

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    with leaving_on_signals():
        from napari_dcr.cli.command import run  # takes seconds, in which Ctrl+C must work

        return run(arguments)
