"""What a flow declares about where it runs, under the names of Prefect 0.x/1.x."""

from dask_flow.declarations import DaskKubernetesEnvironment, Docker

__all__ = ["DaskKubernetesEnvironment", "Docker"]
