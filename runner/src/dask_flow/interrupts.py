"""SIGTERM and SIGINT: the first ends a run. Those that come later only shorten what its clean-up waits for."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from dask_flow.errors import Interrupted

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["begin_cleanup", "handled", "hurried", "unless_hurried"]

T = TypeVar("T")


@dataclasses.dataclass
class _State:
    """The process's: `raises` says whether a signal raises Interrupted where the main thread is."""

    raises: bool = False
    cleaning_up: bool = False
    hurried: bool = False


_state = _State()


@contextmanager
def handled() -> Iterator[None]:
    """Have the first signal raise Interrupted in the body, unless its clean-up has begun."""
    _state.raises, _state.cleaning_up, _state.hurried = True, False, False
    before = {number: signal.signal(number, _on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _state.raises, _state.hurried = False, False


def begin_cleanup() -> None:
    """From now on, have signals shorten the clean-up, and never break it off."""
    _state.cleaning_up, _state.raises = True, False


def hurried() -> bool:
    """Return whether a signal came while the run cleaned up: Kubernetes kills it soon."""
    return _state.hurried


def unless_hurried(wait: Callable[[], T]) -> T | None:
    """Return what `wait` does; None if a signal breaks it off, or came earlier in the clean-up. For the main thread."""
    if _state.hurried:
        return None
    before = _state.raises
    try:
        _state.raises = True
        try:
            return wait()
        finally:
            _state.raises = before
    except Interrupted:
        return None


def _on_signal(number: int, _frame: FrameType | None) -> None:
    raises, _state.hurried = _state.raises, _state.cleaning_up
    begin_cleanup()
    if raises:
        raise Interrupted(number)
