"""Workers that end while a mapped flow runs: no result is lost, and none is wrong."""

import datetime as dt
import os
import signal
import threading
import time

import pytest
from dask_flow import Flow, task
from dask_flow.engine.entry import run_on
from dask_flow.executors import DaskExecutor, on_client
from distributed import LocalCluster, get_worker

ITEMS = 60
LAST_OF_THE_FIRST_HALF = ITEMS // 2


@pytest.fixture
def cluster():
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        yield cluster


class Halt:
    """Where an item says that it runs, and waits until the test lets it go on, by files in a folder."""

    def __init__(self, folder):
        self.running, self.go_on = folder / "running", folder / "go on"

    def here(self, text):
        if not self.go_on.exists():
            self.running.with_suffix(".new").write_text(text)
            self.running.with_suffix(".new").rename(self.running)
        wait_for(self.go_on.exists)

    def then(self, act):
        wait_for(self.running.exists)
        act(self.running.read_text())
        self.go_on.touch()


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def square_flow(halt, batch, tell):
    @task(batch=batch)
    def square(x):
        return x * x

    @task(batch=batch)
    def negative(x):
        if x == LAST_OF_THE_FIRST_HALF**2:
            halt.here(tell())
        return -x

    @task
    def total(numbers):
        return sum(numbers)

    with Flow("squares") as flow:
        squares = square.map(list(range(ITEMS)))
        negatives = negative.map(squares)
        end = total(negatives)
    return flow, squares, negatives, end


def in_background(call):
    outcome = []
    thread = threading.Thread(target=lambda: outcome.append(call()), daemon=True)
    thread.start()

    def result():
        thread.join(60)
        assert outcome, "the flow did not end, or raised"
        return outcome[0]

    return result


def pids(client):
    return set(client.run(os.getpid).values())


def kill(pid):
    os.kill(int(pid), signal.SIGKILL)


@pytest.mark.parametrize("batch", [1, 7, None])
def test_killed_worker_loses_no_result_of_a_map(cluster, client, tmp_path, batch):
    halt, before = Halt(tmp_path), pids(client)
    flow, squares, negatives, end = square_flow(halt, batch, lambda: str(os.getpid()))
    ended = in_background(lambda: flow.run(executor=DaskExecutor(address=cluster.scheduler_address)))

    halt.then(kill)
    state = ended()

    assert state.is_successful()
    assert state.result[squares].result == [x * x for x in range(ITEMS)]
    assert [item.result for item in state.result[negatives].map_states] == [-x * x for x in range(ITEMS)]
    assert state.result[end].result == -sum(x * x for x in range(ITEMS))
    wait_for(lambda: len(pids(client) - before) == 1 and len(pids(client)) == 2)


@pytest.mark.parametrize("batch", [1, None])
def test_killed_worker_loses_nothing_that_was_released(client, tmp_path, batch):
    halt = Halt(tmp_path)
    flow, _, _, end = square_flow(halt, batch, lambda: str(os.getpid()))

    def run():
        with on_client(client) as backend:
            _, state = run_on(backend, flow, {}, keep={end})
            return state.result[end].result

    ended = in_background(run)
    halt.then(kill)

    assert ended() == -sum(x * x for x in range(ITEMS))


@pytest.mark.parametrize("batch", [1, None])
def test_retired_worker_loses_no_result_of_a_map(cluster, client, tmp_path, batch):
    halt = Halt(tmp_path)
    flow, _, negatives, _ = square_flow(halt, batch, lambda: get_worker().address)
    ended = in_background(lambda: flow.run(executor=DaskExecutor(address=cluster.scheduler_address)))

    halt.then(lambda address: client.retire_workers([address], close_workers=True))

    assert [item.result for item in ended().result[negatives].map_states] == [-x * x for x in range(ITEMS)]


def test_retry_after_a_killed_worker_keeps_the_items_that_are_there(cluster, client, tmp_path):
    halt = Halt(tmp_path)

    @task(max_retries=1, retry_delay=dt.timedelta(0), batch=5)
    def fickle(x):
        first = tmp_path / f"first {x}"
        if x % 7 == 0 and not first.exists():
            first.touch()
            raise ValueError(x)
        if x == LAST_OF_THE_FIRST_HALF:
            halt.here(str(os.getpid()))
        return x

    with Flow("fickle") as flow:
        items = fickle.map(list(range(ITEMS)))

    ended = in_background(lambda: flow.run(executor=DaskExecutor(address=cluster.scheduler_address)))
    halt.then(kill)
    state = ended()

    assert state.is_successful()
    assert state.result[items].result == list(range(ITEMS))
