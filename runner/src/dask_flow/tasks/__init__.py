"""The path from which flows import control flow; Prefect's library of tasks is not here."""

from typing import Any

from dask_flow.not_here import refuse_attribute


def __getattr__(name: str) -> Any:
    refuse_attribute(__name__, name)
