"""Prefect 3 flows, by the real package; its tests run in .venv-prefect3."""

import os
import re
import subprocess
import sys
import time
from ast import literal_eval
from pathlib import Path

import pytest

pytest.importorskip("prefect.flows", reason="it needs Prefect 3: make prefect")

from dask_flow.errors import InputError
from dask_flow.flows import adapter_for, kind_of, prefect3
from dask_flow.params import parse_params
from dask_flow.targets import load

# The clients of Prefect's coroutines leave connections to its server for the garbage collector to close.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

EXAMPLE = Path(__file__).parents[2] / "examples/prefect3_flow.py"

FLOWS = """
    import asyncio, datetime, os, time
    from prefect import flow, get_run_logger, tags, task
    from prefect_dask import DaskTaskRunner

    @task
    def double(x):
        return 2 * x

    @task(tags=["database"])
    def process(x):
        time.sleep(0.1)
        return os.getpid()

    @task
    async def slow(x):
        await asyncio.sleep(0.01)
        return os.getpid(), x

    @task(log_prints=True)
    def says(word):
        print(f"printed {word}")
        get_run_logger().warning("logged %s", word)

    @task
    def picky(x):
        if x == 2:
            raise ValueError(f"no {x}")
        return x

    @task(timeout_seconds=0.1)
    def late():
        time.sleep(0.3)

    @flow
    def results(n: int = 3):
        return [double.submit(double.submit(x)).result() for x in range(n)]

    @flow
    def processes():
        return {"here": os.getpid(), "tasks": sorted(set(process.map(range(8)).result()))}

    @flow
    async def coroutine(n: int = 3):
        with tags("more"):
            return os.getpid(), [future.result() for future in slow.map(range(n))]

    @flow
    def typed(day: datetime.date, name: str, days: list[int] = ()):
        return f"{day:%j} {name!r} {days}"

    @flow
    def talking():
        says.submit("hello").wait()

    @flow
    def failing(how: str):
        if how == "mapped":
            return picky.map(range(4)).result()
        if how == "returned":
            return picky.map(range(4))
        if how == "called":
            return picky(2)
        if how == "late":
            return late.submit().result()
        picky.map(range(4)).wait()
        raise KeyError("the flow's own")

    @flow
    def inner():
        return process.submit(1).result()

    @flow
    def outer():
        return inner()

    @flow
    def outer_with_runner():
        return inner.with_options(task_runner=DaskTaskRunner())()

    @flow
    def nothing():
        double.submit(1).wait()

    @flow
    def generator():
        yield 1
"""


@pytest.fixture
def run(write, client):
    def run(name, *pairs):
        flow = load(f"{write(FLOWS)}:{name}").flow
        assert kind_of(flow) == "prefect3"
        assert adapter_for(flow) is prefect3
        params = parse_params(None, pairs)
        prefect3.check(flow, params)
        return prefect3.run(flow, client, params)

    return run


def test_results_are_what_the_flow_returns(run):
    assert run("results", "n=4").results == {"results": "[0, 4, 8, 12]"}


def test_flow_that_returns_nothing_has_no_result(run):
    assert run("nothing").results == {}


def test_mapped_tasks_run_in_the_workers_processes(run, client):
    found = literal_eval(run("processes").results["processes"])

    assert found["tasks"] == sorted(client.run(os.getpid).values())
    assert found["here"] == os.getpid()


def test_coroutine_runs_its_tasks_in_the_workers_processes(run, client):
    here, found = literal_eval(run("coroutine").results["coroutine"])

    assert here == os.getpid()
    assert {process for process, _ in found} <= set(client.run(os.getpid).values())
    assert [x for _, x in found] == [0, 1, 2]


def test_subflow_has_its_own_task_runner_which_may_be_the_clusters(run, client):
    workers = client.run(os.getpid).values()

    assert int(run("outer").results["outer"]) == os.getpid()
    assert int(run("outer_with_runner").results["outer-with-runner"]) in workers


def test_workers_connect_to_nothing_but_the_cluster(run, connections):
    run("processes")
    run("coroutine")
    run("talking")

    assert connections() == set()


def test_prints_and_logs_of_workers_are_in_the_log_with_the_run_of_the_task(run, caplog):
    with caplog.at_level("INFO", logger="dask_flow"):
        run("talking")

    assert re.search(r"task says-\w+: printed hello", caplog.text)
    assert re.search(r"WARNING .*task says-\w+: logged hello", caplog.text)
    assert "127.0.0.1:8" not in re.sub("Start.*|Stop.*", "", caplog.text)


@pytest.mark.parametrize(
    ("how", "task", "error"),
    [
        ("mapped", r"picky-\w+", "ValueError('no 2')"),
        ("returned", r"picky-\w+", "ValueError('no 2')"),
        ("called", r"picky-\w+", "ValueError('no 2')"),
        ("late", r"late-\w+", "TaskRunTimeoutError('Scope timed out after 0.1 second(s).')"),
        ("itself", "failing", 'KeyError("the flow\'s own")'),
    ],
)
def test_failure_is_that_of_the_task_that_raised_it(run, how, task, error):
    result = run("failing", f"how={how}")

    (name,) = result.errors
    assert re.fullmatch(task, name)
    assert repr(result.errors[name]) == error
    assert result.logged


def test_parameters_are_what_the_annotations_say(run):
    found = run("typed", "day=2024-02-01", "name=007", "days=['1', 2]").results["typed"]

    assert found == "032 '007' [1, 2]"


@pytest.mark.parametrize(
    ("name", "pairs", "message"),
    [
        ("typed", ["day=soon", "name=a"], "typed() needs datetime.date for its parameter 'day', not 'soon': "),
        ("typed", ["day=2024-02-01"], "the flow typed needs a value for name; give --param name=VALUE"),
        ("results", ["m=1"], "the flow results has no parameter 'm'; it has n"),
        ("nothing", ["m=1"], "the flow nothing has no parameter 'm'; it has none"),
        ("generator", [], "the flow generator is a generator; have it return its result, not yield it"),
    ],
)
def test_bad_input_is_told_before_anything_starts(write, name, pairs, message):
    with pytest.raises(InputError) as caught:
        prefect3.check(load(f"{write(FLOWS)}:{name}").flow, parse_params(None, pairs))

    assert str(caught.value).startswith(message)


def test_workers_are_left_as_they_were(run, client):
    def state():
        import logging

        from prefect import task_engine
        from prefect.events.worker import EventsWorker

        logger = logging.getLogger("prefect")
        handlers = [type(each).__name__ for each in logger.handlers]
        return handlers, logger.propagate, EventsWorker._client_override, task_engine._concurrency.__module__

    run("nothing")

    assert list(client.run(state).values()) == 2 * [([], True, None, "prefect.concurrency._sync")]


def test_own_task_runner_is_not_used_and_the_log_says_so(write, client, caplog):
    text = """
        import os
        from prefect import flow, task
        from prefect_dask import DaskTaskRunner

        @task
        def process():
            return os.getpid()

        @flow(task_runner=DaskTaskRunner(cluster_kwargs={"n_workers": 1}))
        def main():
            return process.submit().result()
        """
    with caplog.at_level("INFO", logger="dask_flow"):
        result = prefect3.run(load(str(write(text))).flow, client, {})

    assert int(result.results["main"]) in client.run(os.getpid).values()
    assert "the flow's DaskTaskRunner is not used: its tasks run on the run's cluster" in caplog.text


def test_example_runs_by_the_command(dask_flow):
    done = dask_flow("run", EXAMPLE, "--param", "limit=9.5", "--max-workers", "1")

    assert done.returncode == 0, done.stderr
    assert "result of weather: warm: Oslo, Lima, Singapore" in done.stderr
    assert re.search(r"task warm-\w+: Oslo: 20 degrees", done.stderr)
    assert len(re.findall(r"task warm-\w+: Oslo: 20 degrees|\| Oslo: 20 degrees", done.stderr)) == 1


def test_failing_flow_ends_the_command_with_the_task(dask_flow, write):
    done = dask_flow("run", f"{write(FLOWS)}:failing", "--param", "how=mapped")

    assert done.returncode == 1, done.stderr
    last = done.stderr.splitlines()[-1]
    assert re.search(r"error: the flow failed: task picky-\w+: ValueError: no 2$", last)
    assert "in picky\n    raise ValueError" in done.stderr


def test_task_that_kills_its_workers_is_named(dask_flow, write):
    text = """
        import os
        from prefect import flow, task

        @task
        def fatal():
            os._exit(1)

        @flow
        def main():
            fatal.submit().result()
        """
    done = dask_flow("run", write(text))

    assert done.returncode == 1, done.stderr
    assert "error: the flow failed: task fatal: KilledWorker: " in done.stderr.splitlines()[-1]


def test_prefect_2_is_told_which_versions_run(write, monkeypatch):
    flow = load(f"{write(FLOWS)}:nothing").flow
    monkeypatch.setattr("prefect.__version__", "2.20.16")

    with pytest.raises(InputError, match=r"nothing is a flow of Prefect 2\.20\.16; Prefect 3 and 1\.4\.1 run here"):
        prefect3.check(flow, {})


@pytest.mark.parametrize("pair", ["limit=hot", "lim=1"])
def test_bad_parameter_ends_the_command_with_2(dask_flow, pair):
    done = dask_flow("run", EXAMPLE, "--param", pair)

    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_users_server_is_used_and_has_the_runs(dask_flow, monkeypatch):
    from prefect.server.api.server import SubprocessASGIServer

    monkeypatch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    with SubprocessASGIServer() as server:
        before = _task_runs(server.api_url)
        done = dask_flow("run", EXAMPLE, "--max-workers", "1", PREFECT_API_URL=server.api_url)
        deadline = time.monotonic() + 30
        while (found := _task_runs(server.api_url) - before) < 8 and time.monotonic() < deadline:
            time.sleep(0.2)

    assert done.returncode == 0, done.stderr
    assert "temporary server" not in done.stderr
    assert f"View at {server.address}" in done.stderr
    assert found == 8


def _task_runs(api):
    """Return how many task runs the server knows to be completed; it learns of them by events, after they ended."""
    code = (
        "import httpx, sys; print(httpx.post(sys.argv[1] + '/task_runs/count', "
        "json={'task_runs': {'state': {'type': {'any_': ['COMPLETED']}}}}).json())"
    )
    return int(subprocess.run([sys.executable, "-c", code, api], capture_output=True, text=True, check=True).stdout)


def test_missing_prefect_dask_is_told(write, monkeypatch):
    flow = load(f"{write(FLOWS)}:nothing").flow
    monkeypatch.setitem(sys.modules, "prefect_dask", None)

    with pytest.raises(InputError, match=r"needs the package prefect-dask: pip install 'dask-flow\[prefect\]'"):
        prefect3.check(flow, {})
