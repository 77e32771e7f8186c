"""What of Prefect's API is not here, and what to do instead."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Never

from dask_flow.errors import InputError

__all__ = ["NotHere", "refuse_attribute", "refuse_modules"]

SCHEDULE = "set run.schedule in the chart: a CronJob starts the flow"
START = "a run is started by the chart's Job or CronJob, or by `dask-flow run`; there is no server"
PLAIN_TASK = "call the service's own client in a @task function"
RESULT = "return the value, and write what is to stay in a task of its own"
CACHE = "results live as long as the run; write to storage in a task, and read there what exists"
ENV_FROM = "put the Secret into the task's environment: flow.envFrom in the chart, or env of the worker spec"
ENVIRONMENT = "use DaskKubernetesEnvironment, LocalEnvironment, KubernetesRun or LocalRun, or the chart's values"
STORAGE = (
    "put the flow into an image (storage=Docker(…)), into the chart's flow.files, or at a URL for `dask-flow run URL`"
)

INSTEAD = {
    "Flow(schedule=…)": SCHEDULE,
    "Flow.schedule": SCHEDULE,
    "schedules": SCHEDULE,
    "Flow(result=…)": RESULT,
    "Flow.register": START,
    "Flow.serialize": START,
    "Flow.serialized_hash": START,
    "Flow.run_agent": START,
    "Flow.save": STORAGE,
    "Flow.load": STORAGE,
    "Flow.diagnostics": "`dask-flow validate` says what a run would do",
    "Flow.replace": "build the flow with the other task",
    "Flow.copy": "build the flow in a function, and call that twice",
    "Flow.run(runner_cls=…)": "the engine cannot be exchanged",
    "get_tasks(slug=…)": "use names or tags",
    "Client": START,
    "client": START,
    "agent": START,
    "backend": START,
    "config": "settings are options of `dask-flow run`, and Dask's own are in dask.config",
    "apply_map": "call task.map for each step",
    "resource_manager": "open and close it in the task, or clean up in a task with the trigger always_run",
    "tasks.secrets": ENV_FROM,
    "tasks.core.resource_manager": "open and close the resource in the task",
    "engine.results": RESULT,
    "engine.result": RESULT,
    "engine.cache_validators": CACHE,
    "engine.serializers": RESULT,
    "engine.runner": "the engine cannot be exchanged",
    "engine.task_runner": "the engine cannot be exchanged",
    "engine.flow_runner": "the engine cannot be exchanged",
    "Task(cache_for=…)": CACHE,
    "Task(cache_validator=…)": CACHE,
    "Task(cache_key=…)": CACHE,
    "Task(target=…)": CACHE,
    "Task(result=…)": RESULT,
    "tasks": PLAIN_TASK,
    "environments": ENVIRONMENT,
    "run_configs": ENVIRONMENT,
    "storage": STORAGE,
    "environments.storage": STORAGE,
    "executors": "use LocalExecutor, LocalDaskExecutor or DaskExecutor",
    "utilities": "use the standard library, or ask for it",
}


class NotHere(InputError, ImportError):  # noqa: N818 - reads as what it says
    """Something of Prefect's API that this package does not have."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} of Prefect is not here; {instead_of(name) or 'docs/prefect-api.md lists what is'}")

    @staticmethod
    def knows(name: str) -> bool:
        """Tell whether this is a name of Prefect's API that is not here."""
        return name in INSTEAD


def instead_of(name: str) -> str | None:
    """Return what to do instead of something of Prefect's, by its dotted name below the root, or by what holds it."""
    while name:
        if name in INSTEAD:
            return INSTEAD[name]
        name = name.rpartition(".")[0]
    return None


def refuse_attribute(module: str, name: str) -> Never:
    """Be a module's `__getattr__`: raise NotHere for what is known of Prefect, else AttributeError."""
    below = f"{module}.{name}".partition(".")[2]
    if not name.startswith("_") and instead_of(below):
        raise NotHere(below)
    raise AttributeError(f"module {module!r} has no attribute {name!r}")


class _Finder:
    """The last to be asked for a module: those of Prefect that are not here get an error that helps."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        root, _, below = name.partition(".")
        if root == "dask_flow" and not below.rpartition(".")[2].startswith("_") and instead_of(below):
            raise NotHere(below)
        return None


def refuse_modules() -> None:
    """Have imports of modules that are not here fail with what to do instead."""
    if not any(isinstance(each, _Finder) for each in sys.meta_path):
        sys.meta_path.append(_Finder())
