"""What of Prefect's API is not here: an error on use, that says what to do instead."""

import importlib

import pytest
from dask_flow import Flow, Task, task
from dask_flow.engine.signals import LOOP, PAUSE
from dask_flow.errors import InputError
from dask_flow.not_here import INSTEAD, NotHere

MODULES = [
    *("agent", "client", "schedules", "tasks.secrets", "tasks.core.resource_manager"),
    *("engine.results", "engine.result", "engine.cache_validators", "engine.serializers"),
    *("engine.runner", "engine.task_runner", "engine.flow_runner"),
]
IMPORTS = [
    *[(f"dask_flow.{name}", None) for name in MODULES],
    ("dask_flow", "Client"),
    ("dask_flow", "apply_map"),
    ("dask_flow", "resource_manager"),
    ("dask_flow", "config"),
    ("dask_flow.engine.results", "LocalResult"),
    ("dask_flow.schedules", "IntervalSchedule"),
    ("dask_flow.tasks.secrets", "PrefectSecret"),
    ("dask_flow.tasks.shell", "ShellTask"),
    ("dask_flow.environments", "FargateTaskEnvironment"),
    ("dask_flow.environments.storage", "S3"),
    ("dask_flow.storage", "GitHub"),
    ("dask_flow.executors", "AirflowExecutor"),
    ("dask_flow.run_configs", "ECSRun"),
    ("dask_flow.utilities.notifications", "slack_notifier"),
]


@task
def one():
    return 1


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("core.parameter", ["Parameter"]),
        ("core.flow", ["Flow"]),
        ("core.task", ["Task", "Parameter"]),
        ("tasks.control_flow.conditional", ["switch", "ifelse", "merge"]),
        ("tasks.control_flow.case", ["case"]),
    ],
)
def test_paths_that_prefects_own_modules_have_are_here(module, names):
    found = importlib.import_module(f"dask_flow.{module}")

    assert all(hasattr(found, name) for name in names)


def test_modules_that_are_not_here_are_known():
    assert set(MODULES) <= INSTEAD.keys()


@pytest.mark.parametrize(("module", "name"), IMPORTS)
def test_import_of_what_is_not_here_says_what_to_do_instead(module, name):
    with pytest.raises(NotHere) as raised:
        getattr(importlib.import_module(module), name or "anything")

    assert f"{module}.{name or ''}".removeprefix("dask_flow.").startswith(str(raised.value).split(" ")[0])
    assert any(str(raised.value).endswith(each) for each in INSTEAD.values())


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: Flow("f", schedule=object()), "run.schedule in the chart"),
        (lambda: setattr(Flow("f"), "schedule", object()), "run.schedule in the chart"),
        (lambda: Flow("f", result=object()), "return the value"),
        (lambda: Flow("f").register("project"), "there is no server"),
        (lambda: Flow("f").run_agent(), "there is no server"),
        (lambda: Flow("f").save("f.prefect"), "at a URL"),
        (lambda: Flow.load("f.prefect"), "at a URL"),
        (lambda: Flow("f").serialize(), "there is no server"),
        (lambda: Flow("f").diagnostics(), "dask-flow validate"),
        (lambda: Flow("f", tasks=[one]).run(runner_cls=object), "engine cannot be exchanged"),
        (lambda: Flow("f").get_tasks(slug="one-1"), "use names or tags"),
        (lambda: Task(cache_for=1), "results live as long as the run"),
        (lambda: Task(target="x.csv"), "results live as long as the run"),
        (lambda: Task(result=object()), "return the value"),
    ],
)
def test_use_of_what_is_not_here_says_what_to_do_instead(use, message):
    with pytest.raises(InputError, match=message):
        use()


@pytest.mark.parametrize(
    ("signal", "message"), [(LOOP, "write the loop in Python inside the task"), (PAUSE, "end the flow there")]
)
def test_signal_that_is_not_here_says_what_to_do_instead(signal, message):
    with pytest.raises(InputError, match=message):
        raise signal("again")
