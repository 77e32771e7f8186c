"""Until when a cluster must have started: one time for all that a start waits for."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

__all__ = ["Deadline"]

Result = TypeVar("Result")

POLL_SECONDS = 1


class Deadline:
    """Is `seconds` from when it was made."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._over = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """How many seconds are left; 0 from then on."""
        return max(self._over - time.monotonic(), 0.0)

    def result(self, future: Future[Result], paused: Callable[[], bool]) -> Result:
        """Return the future's result. Time in which `paused` says so does not count. Raises TimeoutError."""
        while True:
            since, pausing = time.monotonic(), paused()
            try:
                return future.result(POLL_SECONDS if pausing else min(self.left, POLL_SECONDS))
            except TimeoutError:
                if pausing:
                    self._over += time.monotonic() - since
                elif not self.left:
                    raise
