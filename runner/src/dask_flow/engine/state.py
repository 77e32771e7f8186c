"""What a task or a flow came to. Names, messages and meaning are those of Prefect 1.x."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dask_flow.run_context import context

__all__ = [
    "Failed",
    "Finished",
    "Mapped",
    "Pending",
    "Retrying",
    "Running",
    "Scheduled",
    "Skipped",
    "State",
    "Success",
    "TimedOut",
    "TriggerFailed",
]


class State:
    """A state with its message and its result: a task's value, or the exception that it raised."""

    __slots__ = ("_result", "message")

    def __init__(self, message: str | None = None, result: Any = None) -> None:
        self.message = message
        self._result = result

    @property
    def result(self) -> Any:
        """The value; one that is still on a worker is fetched when it is asked for."""
        if isinstance(self._result, Elsewhere):
            self._result = self._result.fetch()
        return self._result

    @result.setter
    def result(self, value: Any) -> None:
        self._result = value

    @property
    def is_elsewhere(self) -> bool:
        """Whether the result is still to be fetched."""
        return isinstance(self._result, Elsewhere)

    def __repr__(self) -> str:
        return f'<{type(self).__name__}: "{self.message}">' if self.message else f"<{type(self).__name__}>"

    def is_pending(self) -> bool:
        """Tell whether it waits to run."""
        return isinstance(self, Pending)

    def is_scheduled(self) -> bool:
        """Tell whether it waits for a time."""
        return isinstance(self, Scheduled)

    def is_retrying(self) -> bool:
        """Tell whether it waits for another attempt."""
        return isinstance(self, Retrying)

    def is_running(self) -> bool:
        """Tell whether it runs."""
        return isinstance(self, Running)

    def is_finished(self) -> bool:
        """Tell whether it ended, however."""
        return isinstance(self, Finished)

    def is_successful(self) -> bool:
        """Tell whether it ended well; skipped counts."""
        return isinstance(self, Success)

    def is_skipped(self) -> bool:
        """Tell whether it was skipped."""
        return isinstance(self, Skipped)

    def is_mapped(self) -> bool:
        """Tell whether it stands for the items of a mapped task."""
        return isinstance(self, Mapped)

    def is_failed(self) -> bool:
        """Tell whether it failed; one that was not run for a failure before it counts."""
        return isinstance(self, Failed)


class Elsewhere:
    """A result that is fetched when somebody asks for it."""

    __slots__ = ("fetch",)

    def __init__(self, fetch: Callable[[], Any]) -> None:
        self.fetch = fetch


class Pending(State):
    """Waits to run."""

    __slots__ = ()


class Scheduled(Pending):
    """Waits for `start_time`, in UTC."""

    __slots__ = ("start_time",)

    def __init__(self, message: str | None = None, result: Any = None, start_time: dt.datetime | None = None) -> None:
        super().__init__(message, result)
        self.start_time = start_time or dt.datetime.now(dt.UTC)


class Retrying(Scheduled):
    """Waits for another attempt, after `run_count` of them: in a task, by default as many as it had so far."""

    __slots__ = ("run_count",)

    def __init__(
        self,
        message: str | None = None,
        result: Any = None,
        start_time: dt.datetime | None = None,
        run_count: int | None = None,
    ) -> None:
        super().__init__(message, result, start_time)
        self.run_count: int = context.get("task_run_count", 1) if run_count is None else run_count


class Running(State):
    """Runs."""

    __slots__ = ()


class Finished(State):
    """Ended."""

    __slots__ = ()


class Success(Finished):
    """Ended with a value."""

    __slots__ = ()


class Skipped(Success):
    """Was not run, on purpose."""

    __slots__ = ()


class Failed(Finished):
    """Raised; the exception is the result."""

    __slots__ = ()


class TimedOut(Failed):
    """Took longer than its timeout."""

    __slots__ = ()


class TriggerFailed(Failed):
    """Was not run, because its trigger did not allow it."""

    __slots__ = ()


class Mapped(Success):
    """Stands for the items of a mapped task: `map_states` has the state of each, `result` the list of their results."""

    __slots__ = ("_map_states", "_unsuccessful")

    def __init__(
        self,
        message: str | None = None,
        result: Any = None,
        map_states: Sequence[State] | Callable[[], list[State]] = (),
        unsuccessful: Mapping[int, State] | None = None,
    ) -> None:
        super().__init__(message, result)
        self._map_states: Any = map_states
        self._unsuccessful = unsuccessful

    @property
    def map_states(self) -> list[State]:
        """The states of the items, in their order."""
        if callable(self._map_states):
            self._map_states = self._map_states()
        states: list[State] = self._map_states
        return states

    @property
    def unsuccessful(self) -> Mapping[int, State]:
        """The states of those items that have no value, or a special one, by their numbers."""
        if self._unsuccessful is None:
            self._unsuccessful = {i: each for i, each in enumerate(self.map_states) if type(each) is not Success}
        return self._unsuccessful

    @property
    def n_map_states(self) -> int:
        """The number of items."""
        return len(self.map_states)
