"""Run Python flows on Dask clusters in Kubernetes. Importing this imports neither distributed nor kubernetes."""

from typing import Any

from dask_flow.core import Flow, Parameter, Task, flatten, mapped, tags, task, unmapped
from dask_flow.not_here import refuse_attribute, refuse_modules
from dask_flow.run_context import context
from dask_flow.tasks.control_flow import case, ifelse, merge, switch

__version__ = "0.1.0"

__all__ = [
    "Flow",
    "Parameter",
    "Task",
    "__version__",
    "case",
    "context",
    "flatten",
    "ifelse",
    "mapped",
    "merge",
    "switch",
    "tags",
    "task",
    "unmapped",
]

refuse_modules()


def __getattr__(name: str) -> Any:
    refuse_attribute(__name__, name)
