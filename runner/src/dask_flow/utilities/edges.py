"""The path from which flows of Prefect import what says how arguments are handed over."""

from dask_flow.core import flatten, mapped, unmapped

__all__ = ["flatten", "mapped", "unmapped"]
