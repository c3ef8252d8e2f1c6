"""The cache of surveys."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

from napari_dcr.engine.survey import Survey
from napari_dcr.engine.survey_blocks import SurveyRequest

REMEMBERED = 32
"""Number of surveys that are cached for further runs."""


class SurveyCache:
    """Cache of the latest surveys, so that another run on the same image skips its survey."""

    def __init__(self, size: int = REMEMBERED) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[Any, ...], Survey] = OrderedDict()

    def get(self, key: tuple[Any, ...], request: SurveyRequest) -> Survey | None:
        """Cached survey with all requested measurements, or None."""
        with self._lock:
            survey = self._known.get(key)
            if (
                survey is None
                or (request.histogram and not survey.exact)
                or (request.noise and survey.noise is None)
            ):
                return None
            self._known.move_to_end(key)
            return survey

    def put(self, key: tuple[Any, ...], survey: Survey) -> None:
        """Add a survey to the cache; the least recently used one is dropped."""
        with self._lock:
            self._known[key] = survey
            self._known.move_to_end(key)
            while len(self._known) > self._size:
                self._known.popitem(last=False)


SURVEYS = SurveyCache()
"""Survey cache of this process."""
