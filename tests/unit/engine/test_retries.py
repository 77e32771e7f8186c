"""Attempts after the first: which items have them, when, and what is started again with them."""

import datetime as dt
import logging
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import distributed
import pytest
from dask_flow import Flow, context, run_context, task
from dask_flow.engine import signals
from dask_flow.engine.backends import PoolBackend
from dask_flow.engine.flow_run import FlowRun
from dask_flow.engine.plan import Part
from dask_flow.executors import DaskExecutor, LocalDaskExecutor, LocalExecutor, on_client
from dask_flow.triggers import all_finished
from distributed import Nanny, Scheduler, SpecCluster
from waiting import eventually

NOW, SOON = dt.timedelta(0), dt.timedelta(seconds=0.2)
DEEP = 1200
"""More than Python's stack has frames."""


def within(seconds, call):
    """Return what the call returns; one that hangs fails."""
    outcome = []
    threading.Thread(target=lambda: outcome.append(call()), daemon=True).start()
    eventually(lambda: outcome, seconds)
    return outcome[0]


def fail_at_first():
    if context.task_run_count == 1:
        raise ValueError("at first")


@pytest.mark.parametrize("executor", [LocalExecutor(), LocalDaskExecutor(num_workers=2)])
def test_items_of_a_group_have_their_own_attempts(executor):
    ran = []

    @task(max_retries=1, retry_delay=SOON)
    def first(x):
        if x == 0:
            fail_at_first()
        return x

    @task(max_retries=1, retry_delay=NOW, batch=2)
    def second(x):
        ran.append((context.map_index, context.task_run_count))
        fail_at_first()
        return x

    with Flow("attempts") as flow:
        end = second.map(first.map([0, 1]))

    state = flow.run(executor=executor)

    assert state.result[end].result == [0, 1]
    assert sorted(ran) == [(0, 1), (0, 2), (1, 1), (1, 2)]


def test_items_that_ask_for_another_attempt_count_theirs(executor):
    @task
    def third_time(x):
        if context.task_run_count < 3:
            raise signals.RETRY("again")
        return x, context.task_run_count

    with Flow("retry") as flow:
        here, one = third_time.map([1, 2]), third_time(3)

    for each in (LocalExecutor(), executor):
        state = flow.run(executor=each)
        assert state.result[here].result == [(1, 3), (2, 3)]
        assert state.result[one].result == (3, 3)


def test_item_whose_group_runs_again_for_what_is_before_it_keeps_its_attempt_and_its_delay():
    again, ran = threading.Event(), []

    @task(max_retries=1, retry_delay=NOW)
    def first(x):
        if x == 0:
            fail_at_first()
            again.set()
        return x

    @task(max_retries=1, retry_delay=SOON)
    def second(x):
        if x == 1:
            ran.append(time.monotonic())
            assert again.wait(30)  # while the group runs
            fail_at_first()
        return x

    with Flow("group") as flow:
        end = second.map(first.map([0, 1], task_args={"batch": 2}), task_args={"batch": 2})

    state = flow.run(executor=LocalDaskExecutor(num_workers=2))

    assert state.result[end].result == [0, 1]
    assert len(ran) == 2
    assert ran[1] - ran[0] >= SOON.total_seconds()


def test_item_of_a_batch_of_one_is_tried_again_while_others_run(executor, tmp_path):
    @task(batch=1, max_retries=1, retry_delay=NOW)
    def item(x):
        if x == "slow":
            eventually(lambda: len(list(tmp_path.iterdir())) == 4)
        else:
            fail_at_first()
            (tmp_path / str(x)).touch()
        return context.task_run_count

    with Flow("at once") as flow:
        end = item.map(["slow", 1, 2, 3, 4])

    assert flow.run(executor=executor).result[end].result == [1, 2, 2, 2, 2]


def test_items_of_a_batch_of_one_are_tried_again_together(executor, tmp_path):
    @task(batch=1)
    def item(x):
        if context.task_run_count == 1:
            raise signals.RETRY
        (tmp_path / str(x)).touch()
        eventually((tmp_path / str(1 - x)).exists)
        return x

    with Flow("together") as flow:
        end = item.map([0, 1])

    assert flow.run(executor=executor).result[end].result == [0, 1]


def test_chain_longer_than_the_stack_is_started_again():
    @task(max_retries=1, retry_delay=NOW)
    def begin():
        fail_at_first()
        return 0

    @task
    def next_one(x):
        return x + 1

    with Flow("chain") as flow:
        end = begin()
        for _ in range(DEEP):
            end = next_one(end)

    assert flow.run().result[end].result == DEEP


def test_chain_of_maps_longer_than_the_stack_is_computed_again():
    @task(max_retries=1, retry_delay=NOW)
    def begin(x):
        fail_at_first()
        return x

    @task
    def next_one(x):
        return x + 1

    with Flow("chain") as flow:
        end = begin.map([0])
        for _ in range(DEEP):
            end = next_one.map(end)

    assert flow.run().result[end].result == [DEEP]


def test_chain_longer_than_the_stack_is_given_up():
    gate = threading.Event()
    with Flow("chain") as flow:
        end = task(gate.wait, name="wait")()
        for _ in range(DEEP):
            end = task(lambda x: x)(end)

    with ThreadPoolExecutor(1) as threads:
        run = FlowRun(flow, PoolBackend(threads, 1), {})
        for node in run.nodes:
            run._submit(Part(node))
        run._abandon(run.nodes[0].parts[0], ValueError("lost"))
        gate.set()

    assert all(isinstance(node.parts[0].error, ValueError) for node in run.nodes)


def test_failure_reaches_the_end_of_a_long_chain_in_threads():
    gate = threading.Event()

    def fail(_):
        assert gate.wait(30)
        raise ValueError("first")

    with ThreadPoolExecutor(1) as threads:
        backend = PoolBackend(threads, 1)
        last = backend.submit("0", fail, [])
        for number in range(DEEP):
            last = backend.submit(str(number), sum, [last])
        gate.set()

        assert str(last.exception(20)) == "first"


def test_what_is_started_again_is_no_longer_computed(client):
    gate = distributed.Event("gate", client=client)
    with Flow("wait") as flow:
        task(lambda: distributed.Event("gate").wait(30), name="wait")()

    def waits(dask_scheduler):
        return any(key.startswith("wait-") for key in dask_scheduler.tasks)

    with on_client(client) as backend:
        run = FlowRun(flow, backend, {})
        node = run.nodes[0]
        run._submit(Part(node))
        eventually(lambda: client.run_on_scheduler(waits))
        node.restart()
        eventually(lambda: not client.run_on_scheduler(waits))
        gate.set()


def test_result_that_cannot_be_sent_fails_what_may_be_tried_again(executor):
    @task
    def lock(wait):
        distributed.Event(f"locked-{wait}").set()
        distributed.Event(f"locked-{1 - wait}").wait(30)  # on the other worker
        return threading.Lock()

    @task(trigger=all_finished, max_retries=1, retry_delay=NOW)
    def both(one, other):
        return one, other

    with Flow("locks") as flow:
        end = both(lock(0), lock(1))

    state = within(30, lambda: flow.run(executor=executor))

    assert "cannot be sent to another worker" in str(state.result[end].result)


def test_item_that_cannot_be_sent_fails_alone_though_it_may_be_tried_again(tmp_path, monkeypatch):
    told = tmp_path / "told"
    give_up = FlowRun._give_up

    def given_up(*args):
        give_up(*args)
        told.touch()

    @task(max_retries=1, retry_delay=NOW, tags={"dask-resource:A=1"})
    def item(x):
        if x == 0:
            return threading.Lock()
        eventually(told.exists)
        return x

    @task(tags={"dask-resource:B=1"})
    def use(x):
        return x

    monkeypatch.setattr(FlowRun, "_give_up", given_up)
    with Flow("locks") as flow:
        items = item.map([0, 1])
        used = use.map(items)

    workers = {
        name: {"cls": Nanny, "options": {"nthreads": 1, "resources": {name: 1}, "dashboard": False}} for name in "AB"
    }
    scheduler = {"cls": Scheduler, "options": {"dashboard": False}}
    with SpecCluster(workers=workers, scheduler=scheduler) as cluster:
        state = within(60, lambda: flow.run(executor=DaskExecutor(address=cluster.scheduler_address)))

    assert [each.is_failed() for each in state.result[items].map_states] == [True, False]
    assert [each.is_failed() for each in state.result[used].map_states] == [True, False]


@pytest.mark.parametrize("executor_here", [LocalExecutor(), LocalDaskExecutor(num_workers=2), None])
def test_item_that_is_due_does_not_wait_for_its_group(executor, executor_here, caplog, tmp_path):
    @task(batch=3)
    def item(x):
        if context.task_run_count == 1 and x != 1:
            late = dt.timedelta(seconds=4 if x else 0)
            raise signals.RETRY(f"item {x}", start_time=dt.datetime.now(dt.UTC) + late, result=ValueError(x))
        (tmp_path / f"{x}").write_text(f"{time.time()}")
        return x, context.task_run_count

    with Flow("due") as flow:
        end = item.map([0, 1, 2])

    state = flow.run(executor=executor_here or executor)

    assert state.result[end].result == [(0, 2), (1, 1), (2, 2)]
    first, second, last = (float((tmp_path / f"{x}").read_text()) for x in range(3))
    assert first - second < 2
    assert last - second > 3
    lines = sorted(re.sub("in .* s: ", "", text) for text in caplog.messages if "attempt" in text)
    assert lines == [
        "task item[0]: attempt 1 failed, the next is ValueError: 0",
        "task item[2]: attempt 1 failed, the next is ValueError: 2",
    ]


def test_each_attempt_that_failed_is_logged_by_its_number(caplog):
    @task(max_retries=2, retry_delay=NOW)
    def item(x):
        if context.task_run_count < 3:
            raise ValueError(x)

    with Flow("numbers") as flow:
        item.map([0])

    with caplog.at_level(logging.WARNING, "dask_flow"):
        assert flow.run().is_successful()

    assert [f"attempt {number} failed" in text for number, text in enumerate(caplog.messages, 1)] == [True, True]


@pytest.mark.parametrize("executor_here", [LocalExecutor(), LocalDaskExecutor(num_workers=2), None])
def test_what_is_not_here_is_not_tried_again(executor, executor_here, caplog):
    @task(max_retries=2, retry_delay=NOW)
    def loops(x):
        raise signals.LOOP(message="more")

    with Flow("loop") as flow:
        end = loops(1)
        items = loops.map([1, 2])

    state = flow.run(executor=executor_here or executor)

    assert "signals.LOOP is not here" in str(state.result[end].result)
    assert [each.is_failed() for each in state.result[items].map_states] == [True, True]
    assert "attempt" not in caplog.text


def test_run_that_is_over_is_forgotten():
    with Flow("one") as flow:
        task(lambda: 1)()

    for executor in (LocalExecutor(), LocalDaskExecutor("sync"), LocalDaskExecutor("threads")):
        before = dict(run_context.runs)
        assert flow.run(executor=executor).is_successful()
        assert run_context.runs == before
