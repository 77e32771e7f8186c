"""What a flow declares about where it runs, under the names of Prefect 0.x."""

from typing import Any

from dask_flow.declarations import DaskKubernetesEnvironment, Docker, LocalEnvironment
from dask_flow.not_here import refuse_attribute

__all__ = ["DaskKubernetesEnvironment", "Docker", "LocalEnvironment"]


def __getattr__(name: str) -> Any:
    refuse_attribute(__name__, name)
