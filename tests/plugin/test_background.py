"""Runs compute off the GUI thread, with its priority, and show in the activity dock."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

import numpy as np
import pytest
from napari.utils import progress
from numpy.typing import NDArray

from napari_dcr.plugin.widget import EnhanceWidget
from tests.plugin.conftest import finish


@pytest.mark.gui
def test_work_is_off_the_gui_thread_with_its_priority(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: dict[threading.Thread, int] = {}
    intervals = {sys.getswitchinterval()}
    from napari_dcr.engine.runner import TileRunner

    run_tiles = TileRunner._run_tiles

    def watched(*arguments: Any) -> Any:
        threads[threading.current_thread()] = niceness()
        intervals.add(sys.getswitchinterval())
        return run_tiles(*arguments)

    monkeypatch.setattr(TileRunner, "_run_tiles", watched)
    viewer.add_image(np.full((40, 50), 9, np.uint8))
    widget.start()
    finish(widget, qtbot)
    assert threads
    assert threading.main_thread() not in threads
    # During a run the GUI thread gives Python's lock away sooner.
    assert len(intervals) == 2
    assert sys.getswitchinterval() == max(intervals)
    if sys.platform == "linux":
        # A lower priority starves the run beside any busy process.
        assert set(threads.values()) == {niceness()}


def niceness() -> int:
    """Niceness of this thread."""
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.gui
def test_the_activity_dock_shows_a_run(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, dim_rgb: NDArray[np.uint8]
) -> None:
    viewer.add_image(dim_rgb)
    widget.start()
    assert "Low light DCR" in [bar.desc.rstrip(": ") for bar in progress._all_instances]
    finish(widget, qtbot)
    assert not list(progress._all_instances)
