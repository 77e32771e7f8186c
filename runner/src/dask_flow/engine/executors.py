"""The path from which flows of Prefect 0.x import their executors."""

from typing import Any

from dask_flow.executors import DaskExecutor, LocalDaskExecutor, LocalExecutor
from dask_flow.not_here import refuse_attribute

__all__ = ["DaskExecutor", "LocalDaskExecutor", "LocalExecutor"]


def __getattr__(name: str) -> Any:
    refuse_attribute(__name__, name)
