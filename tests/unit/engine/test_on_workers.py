"""What the engine does where tasks run: several workers in a process, logs, prints, threads, interruptions."""

import contextlib
import logging
import subprocess
import sys

import dask
import pytest
from dask_flow import Flow, context, task
from dask_flow.engine import backends
from dask_flow.engine.backends import DaskBackend
from dask_flow.engine.output import TaskOutput
from dask_flow.executors import DaskExecutor, LocalDaskExecutor, LocalExecutor, on_client
from distributed import Client, LocalCluster, get_worker
from waiting import eventually

# Dask would have the handlers of its own logger, which pytest's may be among, silent below warnings.
HERE = {"processes": False, "threads_per_worker": 2, "dashboard_address": None, "silence_logs": False}


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(n_workers=1, threads_per_worker=4, dashboard_address=":0") as cluster:
        yield cluster


def test_workers_of_one_process_share_a_run(caplog):
    @task
    def talk(x):
        print("printed", x)  # noqa: T201
        context.logger.warning("logged %s", context.map_index)
        return x, get_worker().name

    with Flow("talk") as flow:
        grouped = talk.map(list(range(40)))
        alone = talk(40)

    before = sys.stdout, logging.getLogger("dask_flow.task").propagate
    with caplog.at_level(logging.INFO, "dask_flow.task"):
        state = flow.run(executor=DaskExecutor(cluster_kwargs={"n_workers": 2, **HERE}))

    assert [x for x, _ in state.result[grouped].result] == list(range(40))
    assert {name for _, name in state.result[grouped].result} == {0, 1}
    assert state.result[alone].result[0] == 40
    assert sorted(text for text in caplog.messages if "printed" in text) == sorted(f"printed {x}" for x in range(41))
    assert sum("logged" in text for text in caplog.messages) == 41
    assert (sys.stdout, logging.getLogger("dask_flow.task").propagate) == before


def test_workers_log_and_stdout_are_as_before_when_overlapping_runs_are_over(client):
    def now(dask_worker):
        logger = logging.getLogger("dask_flow.task")
        return logger.level, logger.propagate, len(logger.handlers), type(sys.stdout).__name__

    before = client.run(now)
    first, second = contextlib.ExitStack(), contextlib.ExitStack()
    for number, stack in enumerate([first, second]):
        stack.enter_context(on_client(client)).begin(f"run{number}", {"flow_run_id": str(number)}, print)
    assert client.run(now) != before
    first.close()
    assert client.run(now) != before
    second.close()

    assert client.run(now) == before


def test_log_of_several_threads_arrives_to_the_last_line(executor, caplog):
    @task(batch=1)
    def talk(x):
        sys.setswitchinterval(1e-6)  # threads interrupt each other at any point
        for number in range(3000):
            context.logger.info("%d says %d", x, number)
        sys.setswitchinterval(0.005)

    with Flow("talk") as flow:
        talk.map([0, 1, 2, 3])

    with caplog.at_level(logging.INFO, "dask_flow.task"):
        flow.run(executor=executor)

    assert sum(" says " in text for text in caplog.messages) == 4 * 3000


@pytest.mark.parametrize("name", ["local", "threads", "cluster"])
def test_last_line_that_a_task_prints_needs_no_end(client, executor, caplog, name):
    @task(log_stdout=True)
    def wrapped(x):
        print("wrapped", x, end="")  # noqa: T201

    @task
    def plain(_):
        print("plain", end="")  # noqa: T201

    with Flow("print") as flow:
        plain(wrapped(wrapped.map([1, 2])))

    chosen = {"local": LocalExecutor(), "threads": LocalDaskExecutor("threads"), "cluster": executor}[name]
    with on_client(client) as other, caplog.at_level(logging.INFO, "dask_flow.task"):
        other.begin("other", {"flow_run_id": "other"}, print)  # a run on the same workers, which takes no line
        flow.run(executor=chosen)

    lines = [text.removeprefix("task ") for text in caplog.messages if "wrapped" in text or "plain" in text]
    if name == "cluster":
        expected = ["wrapped[0]: wrapped 1", "wrapped[1]: wrapped 2", "wrapped: wrapped [None, None]", "plain: plain"]
    else:
        expected = ["wrapped 1", "wrapped 2", "wrapped [None, None]"]
    assert lines == expected


def test_output_of_tasks_has_the_encoding_and_the_file_of_the_stream_before(tmp_path):
    path = tmp_path / "out"
    with path.open("w", encoding="latin-1") as stream:
        output = TaskOutput(stream, all_tasks=True)
        subprocess.run(["echo", "hello"], stdout=output, check=True)

        assert output.encoding == "latin-1"

    assert path.read_text() == "hello\n"


def test_adaptive_cluster_without_a_worker_yet_has_the_threads_of_those_it_may_add():
    with LocalCluster(n_workers=0, **HERE) as cluster, Client(cluster) as client:
        cluster.adapt(minimum=0, maximum=3)

        assert DaskBackend(client).threads == 6


def test_threads_are_counted_whatever_else_asks_the_scheduler(monkeypatch):
    monkeypatch.setattr(backends, "THREADS_SECONDS", 0)
    # So often, a client renews what scheduler_info() returns, with no workers in it.
    often = dask.config.set({"distributed.client.scheduler-info-interval": "1ms"})
    with often, LocalCluster(n_workers=1, **HERE) as cluster, Client(cluster.scheduler_address) as client:
        backend = DaskBackend(client)
        assert {backend.threads for _ in range(300)} == {2}


def test_threads_are_counted_again(monkeypatch):
    monkeypatch.setattr(backends, "THREADS_SECONDS", 0)
    with LocalCluster(n_workers=1, **HERE) as cluster, Client(cluster) as client:
        backend = DaskBackend(client)
        assert backend.threads == 2
        cluster.scale(2)
        assert backend.threads == 4


def test_calls_that_did_not_begin_when_a_flow_is_interrupted_never_do():
    began = []

    def call(_, number):
        began.append(number)
        eventually(lambda: backend.pool._shutdown)

    with contextlib.suppress(KeyboardInterrupt), LocalDaskExecutor(num_workers=1).open() as backend:
        waited_for = backend.submit("0", call, [], 0)
        backend.submit("after", call, [waited_for], "after")
        for number in range(1, 20):
            backend.submit(str(number), call, [], number)
        eventually(lambda: began)
        raise KeyboardInterrupt

    assert began == [0]


@pytest.mark.parametrize("executor_here", [LocalExecutor(), LocalDaskExecutor("threads"), None])
def test_task_that_exits_fails(executor, executor_here):
    @task(timeout=30)
    def leave():
        sys.exit("enough")

    with Flow("exit") as flow:
        end = leave()

    state = flow.run(executor=executor_here or executor)

    assert state.is_failed()
    assert isinstance(state.result[end].result, SystemExit)
    assert state.result[end].message == "Error during execution of task: SystemExit('enough')"
