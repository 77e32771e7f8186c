"""The path from which flows of Prefect import what makes tasks."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from dask_flow.core import tags, task, unmapped

__all__ = ["defaults_from_attrs", "tags", "task", "unmapped"]


def defaults_from_attrs(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Have a task's `run` take these arguments from the task's attributes where they are not given, or None."""

    def decorate(run: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(run)

        @functools.wraps(run)
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            given = signature.bind_partial(self, *args, **kwargs).arguments
            missing = {name: getattr(self, name) for name in names if given.get(name) is None}
            return run(self, *args, **{**kwargs, **missing})

        return method

    return decorate
