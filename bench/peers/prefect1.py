"""A mapped task's cost in Prefect 1.4.1 on Dask: `prefect1.py TASKS [quiet]`. Needs distributed < 2023.5."""

from __future__ import annotations

import os
import sys

if "quiet" in sys.argv:
    os.environ["PREFECT__LOGGING__LEVEL"] = "WARNING"  # its default is a few lines a task

from measured import increment, measure
from prefect import Flow, task
from prefect.executors import DaskExecutor


def mapped(address: str, tasks: int) -> list[int]:
    with Flow("map") as flow:
        results = task(increment).map(list(range(tasks)))
    state = flow.run(executor=DaskExecutor(address=address))
    return list(state.result[results].result)


if __name__ == "__main__":
    measure(mapped)
