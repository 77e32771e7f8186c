"""How many items of a mapped task one Dask task computes."""

from __future__ import annotations

import math

__all__ = ["Sizes"]

TARGET_SECONDS = 0.1
"""How long a Dask task of grouped items is to last: a hundred times what Dask itself takes for it."""

GROUPS_PER_THREAD = 4
"""At least so many groups there are for each thread, so that none starves at the end."""

GROWTH = 8
"""A group has at most so many times the items of the largest that was measured: the first may be faster than others."""

AHEAD_SECONDS = 4.0
"""So much work for each thread is submitted ahead: enough for an adaptive cluster to see what there is to do."""


class Sizes:
    """Measures the items of one mapped task, and says how large the next group is to be."""

    def __init__(self, fixed: int | None = None) -> None:
        self.fixed = fixed
        self._items = self._seconds = 0.0
        self._largest = 0

    def measured(self, items: int, seconds: float) -> None:
        """Take note of a group that was computed."""
        self._items += items
        self._seconds += seconds
        self._largest = max(self._largest, items)

    def next(self, length: int, threads: int | None) -> int:
        """Return how many items the next group of a map of `length` has."""
        if self.fixed is not None:
            return self.fixed
        if threads is None:
            return max(1, length)
        if not self._items:
            return 1
        return max(1, min(self._wanted(), self._largest * GROWTH, math.ceil(length / (GROUPS_PER_THREAD * threads))))

    def ahead(self, length: int, threads: int | None) -> int:
        """Return how many groups may be submitted and not yet computed."""
        if threads is None or self.fixed is not None:
            return length
        growing = not self._items or self.next(length, threads) == self._largest * GROWTH < self._wanted()
        return threads * 2 if growing else max(GROUPS_PER_THREAD, int(AHEAD_SECONDS / TARGET_SECONDS)) * threads

    def _wanted(self) -> int:
        return max(1, int(TARGET_SECONDS * self._items / max(self._seconds, 1e-9)))
