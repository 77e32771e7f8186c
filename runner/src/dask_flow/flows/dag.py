"""Run a `dask_flow.Flow`: each task is one Dask task, a call of the user's own function."""

from __future__ import annotations

import inspect
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from dask_flow.core import Flow, Parameter, Task, tasks_in
from dask_flow.errors import InputError
from dask_flow.flows import RESULT_KEY, FlowResult, short

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["check", "run"]


def check(flow: Flow, params: Mapping[str, Any]) -> None:
    """Raise InputError for a cycle, an empty flow, and parameters that are unknown or missing."""
    known = flow.parameters()
    if not flow.tasks:
        raise InputError(f"flow {flow.name!r} has no tasks")
    unknown = [name for name in params if name not in known]
    if unknown:
        raise InputError(
            f"flow {flow.name!r} has no parameter {unknown[0]!r}; it has {', '.join(known) if known else 'none'}"
        )
    missing = [name for name, parameter in known.items() if parameter.required and name not in params]
    if missing:
        raise InputError(f"flow {flow.name!r} needs a value for {', '.join(missing)}; give --param {missing[0]}=VALUE")
    for each in flow.sorted_tasks():
        _check_call(each, flow.arguments[each])


def run(flow: Flow, client: Client, params: Mapping[str, Any]) -> FlowResult:
    """Submit the tasks in order and wait for all; an error reaches the tasks downstream through Dask itself."""
    from distributed import wait

    from dask_flow.by_value import send_by_value

    send_by_value([sys.modules["dask_flow.flows"], sys.modules[__name__]])  # workers need nothing of this package
    values: dict[Task, Any] = {}
    run_id = uuid.uuid4().hex[:8]
    for index, each in enumerate(flow.sorted_tasks()):
        if isinstance(each, Parameter):
            values[each] = params.get(each.name, each.default)
        else:
            values[each] = _submit(flow, each, values, client, f"{each.name}-{index}-{run_id}")
    futures = {each: value for each, value in values.items() if not isinstance(each, Parameter)}
    wait(list(futures.values()))
    return _result(flow, futures, client)


def _check_call(task: Task, arguments: dict[str, Any]) -> None:
    positional, keywords = _call(task, arguments)
    try:
        inspect.signature(task.function).bind(*positional, **keywords)
    except TypeError as error:
        raise InputError(f"task {task.name!r}: {error}; bind it, or give it a default") from error


def _submit(flow: Flow, task: Task, values: Mapping[Task, Any], client: Client, key: str) -> Future:
    arguments = {name: _resolve(value, values) for name, value in flow.arguments[task].items()}
    passed = {each for value in flow.arguments[task].values() for each in tasks_in(value)}
    awaited = [values[each] for each in flow.upstream_tasks(task) - passed if not isinstance(each, Parameter)]
    positional, keywords = _call(task, arguments)
    if awaited or keywords:
        return client.submit(_after, awaited, task.function, positional, keywords, key=key, pure=False)
    return client.submit(task.function, *positional, key=key, pure=False)


def _after(upstream: list[Any], function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Call the function, once Dask has computed what it waits for."""
    return function(*args, **kwargs)


def _call(task: Task, arguments: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Split arguments into positional ones and keywords; `Client.submit` takes some keywords for itself."""
    remaining, positional = dict(arguments), []
    for name, parameter in inspect.signature(task.function).parameters.items():
        if name not in remaining or parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_KEYWORD):
            break
        positional.append(remaining.pop(name))
    return positional, remaining


def _resolve(value: Any, values: Mapping[Task, Any]) -> Any:
    """Put each task's future, or parameter's value, in its place."""
    if isinstance(value, Task):
        return values[value]
    if isinstance(value, dict):
        return {key: _resolve(item, values) for key, item in value.items()}
    if type(value) in (list, tuple, set) and any(True for _ in tasks_in(value)):
        return type(value)(_resolve(item, values) for item in value)
    return value


def _result(flow: Flow, futures: Mapping[Task, Future], client: Client) -> FlowResult:
    failed = {each for each, future in futures.items() if future.status != "finished"}
    caused = {each for each in failed if not failed.intersection(flow.upstream_tasks(each))}
    terminal = [each for each in flow.terminal_tasks() if each in futures and each not in failed]
    keys = [f"{RESULT_KEY}-{uuid.uuid4().hex}" for _ in terminal]
    texts = client.gather(
        [client.submit(short, futures[each], key=key) for each, key in zip(terminal, keys, strict=True)]
    )
    labels = _labels(flow)
    return FlowResult(
        results={labels[each]: text for each, text in zip(terminal, texts, strict=True) if text != "None"},
        errors={labels[each]: _error(futures[each]) for each in flow.tasks if each in caused},
        skipped=tuple(labels[each] for each in flow.tasks if each in failed - caused),
    )


def _labels(flow: Flow) -> dict[Task, str]:
    """Name the tasks apart: by name, and among several of one name by their number too, from 0."""
    counts, seen = Counter(each.name for each in flow.tasks), Counter[str]()
    labels = {}
    for each in flow.tasks:
        labels[each] = each.name if counts[each.name] == 1 else f"{each.name}[{seen[each.name]}]"
        seen[each.name] += 1
    return labels


def _error(future: Future) -> BaseException:
    error: BaseException | None = future.exception()
    if error is None:
        error = RuntimeError(f"the task ended as {future.status}")
    error.__traceback__ = future.traceback()
    return error
