"""What a flow is made of, with the names and semantics of Prefect 1.x. `engine` runs it."""

from dask_flow.core.edge import Edge, flatten, mapped, unmapped
from dask_flow.core.flow import Flow
from dask_flow.core.task import FunctionTask, Parameter, Task, tags, task

__all__ = ["Edge", "Flow", "FunctionTask", "Parameter", "Task", "flatten", "mapped", "tags", "task", "unmapped"]
