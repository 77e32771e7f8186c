"""What runs a `dask_flow.Flow`: on Dask, in threads or processes, or here."""

from typing import Any

from dask_flow.not_here import refuse_attribute


def __getattr__(name: str) -> Any:
    refuse_attribute(__name__, name)
