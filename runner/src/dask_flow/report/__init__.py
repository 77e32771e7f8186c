"""What a run came to: the log's last lines, the container's termination message, and the report if one is wanted."""

from dask_flow.report.outcome import Outcome, announce, conclude, write_termination_message
from dask_flow.report.tasks import TaskGroup

__all__ = ["Outcome", "TaskGroup", "announce", "conclude", "write_termination_message"]
