"""The flow that `helm test` runs: two tasks, the second with the result of the first."""

from __future__ import annotations

from dask_flow import Flow, task

__all__ = ["flow"]


@task
def words() -> list[str]:
    """Return the parts of the message."""
    return ["this", "release", "runs", "flows"]


@task
def message(parts: list[str]) -> str:
    """Return the parts as one text."""
    return " ".join(parts)


with Flow("selftest") as flow:
    message(words())
