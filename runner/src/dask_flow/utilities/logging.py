"""The path from which flows of Prefect import their logger."""

import logging

from dask_flow.run_context import task_logger

__all__ = ["get_logger"]


def get_logger(name: str | None = None) -> logging.Logger:
    """Return a logger whose lines are in the run's log, also from a worker."""
    return task_logger(name or "flow")
