"""What the state says in which a task or a flow ended, ours or Prefect 1's, which have the same names."""

from __future__ import annotations

from typing import Any

from dask_flow.engine.lengths import NOTHING_TO_MAP

__all__ = ["error_of", "was_not_run"]


def was_not_run(state: Any) -> bool:
    """Return whether a task failed only because others before it did; a map over one that failed does so too."""
    return type(state).__name__ == "TriggerFailed" or state.message == NOTHING_TO_MAP


def error_of(state: Any) -> BaseException:
    """Return the error that a failed state has, or one with its message."""
    return state.result if isinstance(state.result, BaseException) else RuntimeError(state.message)
