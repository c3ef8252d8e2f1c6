"""A progress bar for terminals and notebooks."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from napari_dcr.engine.result import Progress


class ProgressBar:
    """Context manager that shows the steps of a run as a bar, in frames or in megapixels.

    The bar appears with the second step, after all arguments have been checked.

    Parameters
    ----------
    name : str
        Text in front of the bar.
    hidden : bool
        Whether to hide the bar.
    """

    def __init__(self, name: str = "", hidden: bool = False) -> None:
        self._name, self._hidden = name, hidden
        self._steps = 0
        self._bar: Any = None

    def __call__(self, step: Progress) -> None:
        """Update the bar with a step of the run."""
        self._steps += 1
        if self._hidden or self._steps < 2:
            return
        if self._bar is None:
            from tqdm.auto import tqdm

            if step.frames:
                unit: dict[str, Any] = {"unit": "frames", "total": step.frames}
            else:
                unit = {"unit": "MP", "unit_scale": 1e-6, "total": step.total}
            self._bar = tqdm(desc=self._name or None, leave=False, **unit)
        done = step.done
        if step.frames:
            done = step.done * step.frames // step.total
        else:
            self._bar.total = step.total
        self._bar.set_postfix_str(step.message, refresh=False)
        self._bar.update(done - self._bar.n)

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()


def duration(seconds: float) -> str:
    """Format a duration in seconds for display.

    Examples
    --------
    >>> duration(9.6), duration(125)
    ('10 s', '2:05 min')
    """
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60}:{whole % 60:02} min"
