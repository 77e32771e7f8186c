"""The path from which flows of Prefect 1.x import branches by a condition."""

from dask_flow.tasks.control_flow import CompareValue, Merge, ifelse, merge, switch

__all__ = ["CompareValue", "Merge", "ifelse", "merge", "switch"]
