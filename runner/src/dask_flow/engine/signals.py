"""Exceptions by which a task, trigger or state handler says what state it ends in. Names are those of Prefect 1.x."""

from __future__ import annotations

import copy
from typing import Any, ClassVar, Never

from dask_flow.engine import state
from dask_flow.errors import InputError

__all__ = ["FAIL", "LOOP", "PAUSE", "RETRY", "SKIP", "SUCCESS", "TRIGGERFAIL", "PrefectStateSignal", "signal_from"]


class PrefectStateSignal(BaseException):  # not an Exception, so that `except Exception` lets it through
    """Ends a task in `state`. `result` is the state's, by default the signal itself; so are further arguments."""

    state_class: ClassVar[type[state.State]] = state.State

    def __init__(self, message: str | None = None, **kwargs: Any) -> None:
        super().__init__(message)
        kwargs.setdefault("result", self)
        self.state = self.state_class(message=message, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        ended, own = copy.copy(self.state), self.state.result is self
        if own:  # pickle could not restore it
            ended.result = None
        return _restore, (type(self), self.args, {**self.__dict__, "state": ended}, own)


class FAIL(PrefectStateSignal):
    """The task failed."""

    state_class = state.Failed


class TRIGGERFAIL(FAIL):
    """The task is not to run, as if a task before it had failed."""

    state_class = state.TriggerFailed


class SUCCESS(PrefectStateSignal):
    """The task succeeded, with `result` as its value."""

    state_class = state.Success


class SKIP(PrefectStateSignal):
    """The task is skipped, and what comes after it, unless that says `skip_on_upstream_skip=False`."""

    state_class = state.Skipped


class RETRY(PrefectStateSignal):
    """The task runs again at `start_time`, in UTC, at once by default; no limit of retries applies."""

    state_class = state.Retrying


class LOOP(PrefectStateSignal):
    """Not here."""

    def __init__(self, *_: Any, **__: Any) -> None:
        _refuse("LOOP", "write the loop in Python inside the task, or map over what it would go through")


class PAUSE(PrefectStateSignal):
    """Not here."""

    def __init__(self, *_: Any, **__: Any) -> None:
        _refuse("PAUSE", "end the flow there, and start another one when the work is approved")


def signal_from(ended: state.State) -> PrefectStateSignal:
    """Return the signal that ends a task in this state."""
    kinds = (TRIGGERFAIL, FAIL, SKIP, SUCCESS, RETRY)
    signal = next(kind for kind in kinds if isinstance(ended, kind.state_class))(ended.message)
    signal.state = ended
    return signal


def _refuse(name: str, instead: str) -> Never:
    raise InputError(f"signals.{name} is not here; {instead}")


def _restore(
    kind: type[PrefectStateSignal], args: tuple[Any, ...], attributes: dict[str, Any], own: bool
) -> PrefectStateSignal:
    """Return a signal that was pickled; `own`: it is the result of its state."""
    new = kind.__new__(kind, *args)
    new.args = args
    new.__dict__.update(attributes)
    if own:
        new.state.result = new
    return new
