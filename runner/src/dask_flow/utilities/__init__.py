"""Paths from which flows of Prefect import."""

from typing import Any

from dask_flow.not_here import refuse_attribute


def __getattr__(name: str) -> Any:
    refuse_attribute(__name__, name)
