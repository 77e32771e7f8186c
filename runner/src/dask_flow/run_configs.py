"""What a flow declares about its run, under the names of Prefect 1.x."""

from typing import Any

from dask_flow.declarations import KubernetesRun, LocalRun
from dask_flow.not_here import refuse_attribute

__all__ = ["KubernetesRun", "LocalRun"]


def __getattr__(name: str) -> Any:
    refuse_attribute(__name__, name)
