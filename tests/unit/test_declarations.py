"""What a flow declares: what it means for the run, what has no effect, what is refused."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from dask_flow import Flow
from dask_flow.declarations import (
    DaskKubernetesEnvironment,
    Docker,
    KubernetesRun,
    LocalEnvironment,
    LocalRun,
    relative_to,
    settings_of,
)
from dask_flow.errors import InputError
from dask_flow.executors import DaskExecutor, LocalDaskExecutor, LocalExecutor

FLOW = """
from dask_flow import Flow, task
from dask_flow.environments import LocalEnvironment
from dask_flow.executors import LocalExecutor
@task
def say(): print("in the task")
flow = Flow("f", tasks=[say], environment=LocalEnvironment(executor=LocalExecutor(), {hooks}))
"""


def declared(**attributes):
    return settings_of(Flow("f", **attributes))


def do_nothing():
    """Be called at the start or the end."""


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"environment": DaskKubernetesEnvironment()}, {"min_workers": 1, "max_workers": 2, "work_stealing": True}),
        (
            {"environment": DaskKubernetesEnvironment(min_workers=2, max_workers=5)},
            {"min_workers": 2, "max_workers": 5},
        ),
        ({"environment": DaskKubernetesEnvironment(work_stealing=False)}, {"work_stealing": False}),
        ({"environment": DaskKubernetesEnvironment(scheduler_logs=True)}, {"scheduler_logs": True}),
        ({"environment": DaskKubernetesEnvironment(log_k8s_errors=True)}, {"log_k8s_errors": True}),
        ({"environment": DaskKubernetesEnvironment(image_pull_secret="key")}, {"image_pull_secrets": ("key",)}),  # noqa: S106
        (
            {"environment": DaskKubernetesEnvironment(on_start=do_nothing, on_exit=do_nothing)},
            {"on_start": do_nothing, "on_exit": do_nothing},
        ),
        ({"environment": LocalEnvironment()}, {"cluster": "local", "min_workers": 1, "max_workers": 1}),
        ({"environment": LocalEnvironment(executor=DaskExecutor("tcp://s:8786"))}, {"address": "tcp://s:8786"}),
        (
            {"run_config": KubernetesRun(image="i:1", env={"A": 1}, image_pull_secrets=["key"])},
            {"image": "i:1", "env": {"A": "1"}, "image_pull_secrets": ("key",)},
        ),
        (
            {"run_config": LocalRun(env={"A": "b"}, working_dir="/srv")},
            {"env": {"A": "b"}, "working_dir": Path("/srv")},
        ),
        ({"executor": LocalExecutor()}, {"cluster": "local", "min_workers": 1, "max_workers": 1}),
        ({"executor": LocalDaskExecutor("processes", 3)}, {"cluster": "local", "min_workers": 3, "max_workers": 3}),
        ({"executor": DaskExecutor(cluster_kwargs={"n_workers": 4})}, {"min_workers": 4, "max_workers": 4}),
        (
            {
                "executor": DaskExecutor(
                    adapt_kwargs={"minimum": 1, "maximum": 9, "interval": "500 ms", "wait_count": 2}
                )
            },
            {"min_workers": 1, "max_workers": 9, "adaptive_interval": 0.5, "adaptive_wait_count": 2},
        ),
        ({"executor": DaskExecutor(adapt_kwargs={"target_duration": 3})}, {"adaptive_target_duration": 3.0}),
        (
            {"storage": Docker("r.example.org/team/", image_name="f", image_tag="2")},
            {"image": "r.example.org/team/f:2"},
        ),
        ({"storage": Docker(image_name="f")}, {"image": "f:latest"}),
        ({"storage": Docker("r.example.org", image_tag="2")}, {"image": "r.example.org/f:2"}),
    ],
)
def test_declaration_is_a_setting_of_the_run(attributes, expected):
    found = declared(**attributes)

    assert {name: found[name] for name in expected} == expected


def test_storage_without_registry_and_name_leaves_the_image_to_the_run():
    assert "image" not in declared(storage=Docker(python_dependencies=["pandas"]))


def test_executor_has_the_last_word_on_the_kind_of_cluster():
    found = declared(environment=DaskKubernetesEnvironment(max_workers=7), executor=DaskExecutor("tcp://s:8786"))

    assert (found["address"], found["max_workers"]) == ("tcp://s:8786", 7)


def test_spec_is_found_beside_the_flow(tmp_path):
    (tmp_path / "worker_spec.yaml").write_text("kind: Pod\n")
    with relative_to(tmp_path):
        environment = DaskKubernetesEnvironment(worker_spec_file="worker_spec.yaml")

    assert declared(environment=environment)["worker_spec"] == tmp_path / "worker_spec.yaml"


@pytest.mark.parametrize(
    ("declare", "said"),
    [
        (lambda: DaskKubernetesEnvironment(labels=["gpu"]), "labels=['gpu']) has no effect here: it was for Prefect's"),
        (lambda: DaskKubernetesEnvironment(metadata={"a": 1}), "has no effect here: it was for Prefect's server"),
        (lambda: KubernetesRun(cpu_limit=2), "KubernetesRun(cpu_limit=2) has no effect here: .* runner.resources"),
        (lambda: KubernetesRun(service_account_name="a"), "serviceAccount.name"),
        (lambda: LocalRun(labels=["x"]), "LocalRun(labels=['x']) has no effect"),
        (lambda: declared(executor=DaskExecutor(cluster_class="x.Y")), "DaskExecutor(cluster_class=…) has no effect"),
        (lambda: declared(executor=DaskExecutor(client_kwargs={"a": 1})), "DaskExecutor(client_kwargs=…) has no"),
        (lambda: declared(executor=DaskExecutor(debug=True)), "DaskExecutor(debug=…) has no effect in dask-flow run"),
        (
            lambda: declared(executor=DaskExecutor(cluster_kwargs={"memory_limit": "1GiB"})),
            "DaskExecutor(cluster_kwargs={'memory_limit': …}) has no effect",
        ),
        (lambda: declared(executor=DaskExecutor(adapt_kwargs={"worker_key": len})), "adapt_kwargs={'worker_key': …})"),
        (lambda: DaskExecutor(watch_worker_status=True), "DaskExecutor(watch_worker_status=…) has no effect here"),
        (lambda: DaskExecutor(disable_cancellation_event=True), "DaskExecutor(disable_cancellation_event=…) has no"),
        (lambda: declared(executor=LocalDaskExecutor(debug=False)), "LocalDaskExecutor(debug=…) has no effect"),
        (lambda: declared(executor=LocalDaskExecutor("sync")), "LocalDaskExecutor(scheduler='sync') has no effect"),
        (lambda: Flow("f", tasks=[do()]).run(run_on_schedule=True), "run_on_schedule has no effect here; set run.sch"),
    ],
)
def test_argument_without_effect_says_so_once(caplog, declare, said):
    with caplog.at_level(logging.WARNING):
        declare()

    head, _, tail = said.partition(".*")
    found = [each.getMessage() for each in caplog.records if head in each.getMessage() and tail in each.getMessage()]
    assert len(found) == 1, caplog.text


def do():
    from dask_flow import task

    return task(do_nothing)


def test_declaration_that_is_all_used_says_nothing(caplog):
    declared(environment=DaskKubernetesEnvironment(), executor=DaskExecutor(adapt_kwargs={"minimum": 1}))
    declared(executor=LocalDaskExecutor(), run_config=KubernetesRun(image="i"), storage=Docker(image_name="f"))

    assert not caplog.records


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: DaskKubernetesEnvironment(scheduler_logs="yes"), "scheduler_logs must be True or False, not 'yes'"),
        (lambda: KubernetesRun(env=["A"]), r"flow declaration KubernetesRun: env must be a dict, not \['A'\]"),
        (lambda: KubernetesRun(env=[]), "env must be a dict"),
        (lambda: KubernetesRun(image=3), "image must be a text, not 3"),
        (lambda: KubernetesRun(image_pull_secrets="key"), "image_pull_secrets must be a list, not 'key'"),
        (lambda: LocalRun(working_dir=1), "LocalRun: working_dir must be a text"),
        (lambda: LocalEnvironment(executor="dask"), "executor must be an executor of dask_flow.executors, not 'dask'"),
        (lambda: LocalEnvironment(on_start=1), "on_start must be a function"),
        (lambda: Docker(env_vars=["A=1"]), "Docker: env_vars must be a dict"),
        (lambda: Docker(python_dependencies="pandas"), "python_dependencies must be a list"),
        (lambda: DaskKubernetesEnvironment(max_workers="9"), "max_workers must be a whole number, not '9'"),
        (lambda: LocalDaskExecutor(num_workers=True), "LocalDaskExecutor: num_workers must be a whole number"),
        (lambda: DaskExecutor(adapt_kwargs=["x"]), "DaskExecutor: adapt_kwargs must be a dict"),
        (
            lambda: DaskKubernetesEnvironment(min_workers=0),
            "min_workers must be a whole number from 1 to 150000, not 0",
        ),
        (lambda: DaskKubernetesEnvironment(worker_spec_file="no.yaml"), "worker_spec_file='no.yaml': there is no such"),
        (lambda: LocalDaskExecutor("gpu"), "scheduler must be one of threads, processes, sync"),
        (lambda: DaskExecutor("tcp://s:1", cluster_kwargs={"n_workers": 1}), "leave out one of the two"),
        (lambda: declared(executor=DaskExecutor(adapt_kwargs={"interval": "soon"})), "'soon', which is no duration"),
        (lambda: declared(executor="dask"), "the executor is a str|flow.executor is a str"),
        (lambda: declared(environment=object()), "flow.environment is a object, which means nothing here"),
    ],
)
def test_impossible_declaration_is_refused_by_name(declare, message):
    with pytest.raises(InputError, match=message):
        declare()


def run(folder, hooks, *options, text=FLOW):
    (folder / "flow.py").write_text(text.format(hooks=hooks))
    env = {**os.environ, "DASK_DISTRIBUTED__SCHEDULER__DASHBOARD_ADDRESS": ":0"}
    command = [sys.executable, "-m", "dask_flow", "run", "flow.py", *options]
    return subprocess.run(
        command,
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )


def test_on_start_and_on_exit_are_called_around_the_run(tmp_path):
    done = run(tmp_path, "on_start=lambda: print('before'), on_exit=lambda: print('after')")

    assert done.returncode == 0, done.stdout
    places = [done.stdout.index(each) for each in ("before", "in the task", "after")]  # in the order of writing
    assert places == sorted(places)


@pytest.mark.parametrize("hook", ["on_start", "on_exit"])
def test_hook_that_fails_fails_the_flow_with_its_traceback(tmp_path, hook):
    done = run(tmp_path, f"{hook}=lambda: 1 / 0")

    assert done.returncode == 1, done.stdout
    assert f"the flow failed: {hook}: ZeroDivisionError: division by zero" in done.stdout
    assert "1 / 0" in done.stdout


def test_hook_that_fails_after_the_flow_did_does_not_hide_why(tmp_path):
    slow = FLOW.replace('print("in the task")', '__import__("time").sleep(60)')

    done = run(tmp_path, "on_exit=lambda: 1 / 0", "--timeout", "0.5", text=slow)

    assert done.returncode == 1, done.stdout
    assert "on_exit failed:" in done.stdout
    assert done.stdout.endswith("error: the flow did not finish within --timeout 0.5 s\n")
