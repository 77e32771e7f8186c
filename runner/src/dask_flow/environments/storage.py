"""The path from which flows of Prefect 0.x import their storage."""

from typing import Any

from dask_flow.declarations import Docker
from dask_flow.not_here import refuse_attribute

__all__ = ["Docker"]


def __getattr__(name: str) -> Any:
    refuse_attribute(__name__, name)
