"""The path from which flows of Prefect 1.x import their storage."""

from dask_flow.declarations import Docker

__all__ = ["Docker"]
