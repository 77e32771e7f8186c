"""Run Python flows on Dask clusters in Kubernetes. Importing this imports neither distributed nor kubernetes."""

from dask_flow.core import Flow, Parameter, Task, task

__version__ = "0.1.0"

__all__ = ["Flow", "Parameter", "Task", "__version__", "task"]
