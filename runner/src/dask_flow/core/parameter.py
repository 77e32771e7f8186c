"""The path from which flows of Prefect 1.x import Parameter."""

from dask_flow.core.task import Parameter

__all__ = ["Parameter"]
