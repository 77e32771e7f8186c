"""Until when a cluster must have started: one time for all that a start waits for."""

from __future__ import annotations

import time

__all__ = ["Deadline"]


class Deadline:
    """Is `seconds` from when it was made."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._over = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """How many seconds are left; 0 from then on."""
        return max(self._over - time.monotonic(), 0.0)
