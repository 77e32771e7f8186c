"""Where `Flow.run` computes, and what a flow's `executor` declares: names, signatures and defaults of Prefect 1.x."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dask_flow.errors import InputError
from dask_flow.not_here import refuse_attribute

if TYPE_CHECKING:
    from distributed import Client

    from dask_flow.engine.backends import Backend

__all__ = ["DaskExecutor", "Executor", "LocalDaskExecutor", "LocalExecutor", "executor_of"]


log = logging.getLogger(__name__)

SCHEDULERS = {
    "threads": "threads",
    "processes": "processes",
    "sync": "sync",
    "threaded": "threads",
    "threading": "threads",
    "multiprocessing": "processes",
    "synchronous": "sync",
    "single-threaded": "sync",
}
"""Dask's names of its local schedulers."""

ADAPT_SETTINGS = {
    "minimum": "min_workers",
    "maximum": "max_workers",
    "interval": "adaptive_interval",
    "target_duration": "adaptive_target_duration",
    "wait_count": "adaptive_wait_count",
}
"""What `Cluster.adapt` of distributed calls the settings of a run."""


KINDS: dict[str, tuple[Any, str]] = {
    "None": (type(None), ""),
    "bool": (bool, "True or False"),
    "int": (int, "a whole number"),
    "float": ((int, float), "a number"),
    "str": ((str, os.PathLike), "a text"),
    "Mapping": (Mapping, "a dict"),
    "Iterable": (Iterable, "a list"),
    "Callable": (Callable, "a function"),
}
"""The types that what a flow declares has in its annotations, and how an error says them."""


def check_types(declaration: Any) -> None:
    """Raise InputError for a declaration's argument that is not of the type which its annotation says."""
    for field in dataclasses.fields(declaration):
        value = getattr(declaration, field.name)
        kinds = [each.partition("[")[0] for each in str(field.type).split(" | ")]
        if set(kinds) <= KINDS.keys() and not any(_is_of(value, kind) for kind in kinds):
            wanted = " or ".join(KINDS[kind][1] for kind in kinds if kind != "None")
            raise InputError(
                f"flow declaration {type(declaration).__name__}: {field.name} must be {wanted}, not {value!r:.60}"
            )


def _is_of(value: Any, kind: str) -> bool:
    mistaken = (kind == "Iterable" and isinstance(value, str)) or (kind != "bool" and isinstance(value, bool))
    return isinstance(value, KINDS[kind][0]) and not mistaken


@dataclasses.dataclass(frozen=True)
class Executor:
    """What opens a backend."""

    def __post_init__(self) -> None:
        check_types(self)

    def settings(self) -> dict[str, Any]:
        """Return what this means for `dask-flow run`, by the names of RunSettings."""
        return {}

    def open(self) -> contextlib.AbstractContextManager[Backend]:
        """Open a place to compute; closed again, nothing of it remains."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class LocalExecutor(Executor):
    """Runs a flow in this process, a task after the other."""

    def settings(self) -> dict[str, Any]:
        """Return what this means for `dask-flow run`: one worker process beside the runner."""
        return {"cluster": "local", "min_workers": 1, "max_workers": 1}

    @contextmanager
    def open(self) -> Iterator[Backend]:
        """Open it."""
        from dask_flow.engine.backends import LocalBackend
        from dask_flow.engine.output import lines_of_tasks

        with lines_of_tasks(all_tasks=False), contextlib.closing(LocalBackend()) as backend:
            yield backend


@dataclasses.dataclass(frozen=True)
class LocalDaskExecutor(Executor):
    """Runs a flow on this machine, in threads or processes: `scheduler` is "threads", "processes" or "sync"."""

    scheduler: str = "threads"
    num_workers: int | None = None
    debug: bool | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scheduler not in SCHEDULERS:
            raise InputError(
                f"LocalDaskExecutor: scheduler must be one of {', '.join(SCHEDULERS)}, not {self.scheduler!r}"
            )

    def settings(self) -> dict[str, Any]:
        """Return what this means for `dask-flow run`: worker processes beside the runner."""
        one_thread = SCHEDULERS[self.scheduler] == "sync"
        _say_unused(self, {f"scheduler={self.scheduler!r}": one_thread, "debug=…": self.debug is not None})
        return {"cluster": "local", "min_workers": self.num_workers, "max_workers": self.num_workers}

    @contextmanager
    def open(self) -> Iterator[Backend]:
        """Open it."""
        from dask.system import CPU_COUNT

        from dask_flow.engine.backends import LocalBackend, PoolBackend
        from dask_flow.engine.output import lines_of_tasks

        kind = SCHEDULERS[self.scheduler]
        number = self.num_workers or CPU_COUNT
        with lines_of_tasks(all_tasks=False):
            if kind == "sync":
                backend: LocalBackend | PoolBackend = LocalBackend()
            elif kind == "threads":
                backend = PoolBackend(ThreadPoolExecutor(number, thread_name_prefix="dask-flow"), number)
            else:
                import multiprocessing

                backend = PoolBackend(ProcessPoolExecutor(number, multiprocessing.get_context("spawn")), number)
            with contextlib.closing(backend):
                yield backend


@dataclasses.dataclass(frozen=True)
class DaskExecutor(Executor):
    """Runs a flow on a Dask cluster: the one at `address`, or one of `cluster_class` that is made for the run."""

    address: str | None = None
    cluster_class: str | Callable[..., Any] | None = None
    cluster_kwargs: Mapping[str, Any] | None = None
    adapt_kwargs: Mapping[str, Any] | None = None
    client_kwargs: Mapping[str, Any] | None = None
    debug: bool | None = None
    performance_report_path: str | None = None
    disable_cancellation_event: bool = False
    watch_worker_status: bool | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("disable_cancellation_event", "watch_worker_status"):
            if getattr(self, name):
                log.warning("DaskExecutor(%s=…) has no effect here: it was for a fault of Prefect's engine", name)
        if self.address is not None and (self.cluster_class or self.cluster_kwargs or self.adapt_kwargs):
            raise InputError(
                "DaskExecutor: address is for a cluster that is there, cluster_class, cluster_kwargs and adapt_kwargs "
                "are for one that is made; leave out one of the two"
            )

    def settings(self) -> dict[str, Any]:
        """Return what this means for `dask-flow run`: a static cluster; one that is made is the runner's matter."""
        bounds, of_cluster = dict(self.adapt_kwargs or {}), dict(self.cluster_kwargs or {})
        number = of_cluster.pop("n_workers", None)
        used = {setting: bounds.pop(name, None) for name, setting in ADAPT_SETTINGS.items()}
        not_used = ("cluster_class", "client_kwargs", "debug")
        _say_unused(
            self,
            {f"{name}=…": getattr(self, name) is not None for name in not_used}
            | {f"cluster_kwargs={{{name!r}: …}}": True for name in of_cluster}
            | {f"adapt_kwargs={{{name!r}: …}}": True for name in bounds},
        )
        for name in ("adaptive_interval", "adaptive_target_duration"):
            used[name] = _seconds(used[name])
        fixed = {name: number for name in ("min_workers", "max_workers") if used[name] is None}
        return {"address": self.address, **used, **fixed}

    @contextmanager
    def open(self) -> Iterator[Backend]:
        """Open it."""
        with self._client() as client, on_client(client) as backend:
            yield backend

    @contextmanager
    def _client(self) -> Iterator[Client]:
        from distributed import Client

        options = {**(self.client_kwargs or {})}
        if self.address is not None:
            if self.address in ("local", "inproc"):
                raise InputError(f"DaskExecutor(address={self.address!r}): leave address out for a cluster made here")
            with Client(self.address, **options) as client:
                yield client
            return
        with self._cluster_class()(**(self.cluster_kwargs or {})) as cluster:
            if self.adapt_kwargs:
                cluster.adapt(**self.adapt_kwargs)
            with Client(cluster, **options) as client:
                yield client

    def _cluster_class(self) -> Callable[..., Any]:
        if self.cluster_class is None:
            from distributed import LocalCluster

            return LocalCluster  # type: ignore[no-any-return]
        if callable(self.cluster_class):
            return self.cluster_class
        module, _, name = self.cluster_class.rpartition(".")
        try:
            found: Callable[..., Any] = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise InputError(f"DaskExecutor: there is no cluster_class {self.cluster_class!r}: {error}") from error
        return found


KINDS["Executor"] = (Executor, "an executor of dask_flow.executors")


def _say_unused(executor: Executor, given: Mapping[str, bool]) -> None:
    """Warn of each argument that was given and that means nothing to `dask-flow run`."""
    for argument in (argument for argument, is_given in given.items() if is_given):
        log.warning(
            "%s(%s) has no effect in dask-flow run, which makes the cluster, its processes and the client itself",
            *(type(executor).__name__, argument),
        )


def _seconds(duration: Any) -> float | None:
    """Return a duration, such as 2 or "500 ms", in seconds."""
    if duration is None:
        return None
    from dask.utils import parse_timedelta

    try:
        return float(parse_timedelta(duration))
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"DaskExecutor: adapt_kwargs has {duration!r}, which is no duration such as '2s'") from error


@contextmanager
def report_of(executor: Executor, client: Client | None) -> Iterator[None]:
    """Write Dask's performance report of what runs inside on a client's cluster, if the executor asks for it."""
    path = getattr(executor, "performance_report_path", None)
    if path is None or client is None:
        yield
        return
    from dask_flow.report.performance import saved

    with saved(client, path):
        yield


@contextmanager
def on_client(client: Client) -> Iterator[Backend]:
    """Open a backend on a client's cluster."""
    from dask_flow.engine.on_workers import on_workers

    with on_workers(client) as backend:
        yield backend


def executor_of(flow: Any) -> Executor:
    """Return the executor that a flow declares, else a LocalExecutor."""
    declared = flow.executor or getattr(flow.environment, "executor", None)
    if declared is None:
        return LocalExecutor()
    if not isinstance(declared, Executor):
        raise InputError(
            f"flow {flow.name!r}: the executor is a {type(declared).__name__}; use LocalExecutor, LocalDaskExecutor or "
            "DaskExecutor of dask_flow.executors"
        )
    return declared


def __getattr__(name: str) -> Any:
    refuse_attribute(__name__, name)
