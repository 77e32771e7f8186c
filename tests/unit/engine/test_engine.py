"""What the engine does on a Dask cluster that the comparison with Prefect does not show."""

import logging
import os
import threading
import time
from collections import Counter

import distributed
import pytest
from dask_flow import Flow, Parameter, context, flatten, task, unmapped
from dask_flow.engine.backends import DaskBackend
from dask_flow.engine.entry import run_on
from dask_flow.engine.sizes import Sizes
from dask_flow.executors import DaskExecutor, LocalDaskExecutor, LocalExecutor, on_client
from dask_flow.flows import dag
from dask_flow.log import file_handler
from dask_flow.triggers import any_failed
from distributed import Client, LocalCluster, get_worker
from waiting import eventually


def keys(client):
    """Return the keys that the scheduler holds."""
    return client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.tasks))


def computed(client, since):
    """Return how many Dask tasks of each name ran."""
    return Counter(distributed.utils.key_split(each["key"]) for each in client.get_task_stream(start=since))


@task
def double(x):
    return 2 * x


@task
def total(numbers):
    return sum(numbers)


def test_items_of_a_map_are_grouped(client, executor):
    client.get_task_stream()
    with Flow("many") as flow:
        whole = total(double.map(double.map(list(range(5000)))))

    start = time.time()
    state = flow.run(executor=executor)

    assert state.result[whole].result == 4 * sum(range(5000))
    assert computed(client, start)["double"] < 1000


def test_batch_of_one_is_a_dask_task_for_each_item(client, executor):
    client.get_task_stream()
    with Flow("each") as flow:
        whole = total(double.map(list(range(50)), task_args={"batch": 1}))

    start = time.time()
    state = flow.run(executor=executor)

    assert state.result[whole].result == 2450
    assert computed(client, start)["double"] == 50


def test_fixed_batch_is_that_many_items_for_each_dask_task(client, executor):
    client.get_task_stream()
    with Flow("tens") as flow:
        total(double.map(list(range(50)), task_args={"batch": 10}))

    start = time.time()
    flow.run(executor=executor)

    assert computed(client, start)["double"] == 5


def test_groups_last_a_tenth_of_a_second_and_leave_no_thread_without_work():
    sizes = Sizes()
    assert sizes.next(100_000, threads=2) == 1
    sizes.measured(8, 0.008)
    assert sizes.next(100_000, threads=2) == 64  # no more than eight times the largest that was measured
    sizes.measured(64, 0.064)
    assert sizes.next(100_000, threads=2) == pytest.approx(100, abs=1)
    assert sizes.next(100, threads=5) == 5  # four groups for each thread
    assert sizes.ahead(100_000, threads=2) == 80

    slow = Sizes()
    slow.measured(1, 3.0)
    assert slow.next(1000, threads=2) == 1


def test_groups_are_for_the_workers_that_are_to_come_too():
    options = {"threads_per_worker": 2, "processes": False, "dashboard_address": None}
    with LocalCluster(n_workers=1, **options) as cluster, Client(cluster) as client:
        assert DaskBackend(client).threads == 2
        cluster.scale(3)
        assert DaskBackend(client).threads == 6
        cluster.adapt(minimum=1, maximum=5)
        assert DaskBackend(client).threads == 10


def test_names_of_tasks_are_those_in_the_dashboard(client):
    with Flow("names") as flow:
        total(double.map([1, 2]), task_args={"name": "Sum up"})

    with on_client(client) as backend:
        run, _ = run_on(backend, flow, {}, keep=flow.tasks)
        names = {distributed.utils.key_split(key) for key in keys(client)}

    assert {"double", "Sum up"} <= names
    assert run.by_task


def test_result_that_nobody_needs_any_more_is_released(client):
    gate = distributed.Event("gate", client=client)

    @task
    def wait(x):
        distributed.Event("gate").wait(30)
        return x

    with Flow("chain") as flow:
        first = double(1, task_args={"name": "first"})
        second = double(first, task_args={"name": "second"})
        wait(second)

    done = []
    thread = threading.Thread(target=lambda: done.append(dag.run(flow, client, {})))
    thread.start()
    eventually(lambda: any("wait" in key for key in keys(client)))
    eventually(lambda: not any(key.startswith("first") and held for key, held in in_memory(client).items()))
    gate.set()
    thread.join(30)

    assert done[0].results == {"wait": "4"}
    eventually(lambda: not keys(client))


def in_memory(client):
    return client.run_on_scheduler(lambda dask_scheduler: {k: bool(t.who_has) for k, t in dask_scheduler.tasks.items()})


def test_flow_leaves_nothing_on_the_cluster(client, executor):
    with Flow("clean") as flow:
        total(double.map([1, 2, 3]))

    assert flow.run(executor=executor).is_successful()

    eventually(lambda: not keys(client))
    plugins = client.run(lambda dask_worker: [name for name in dask_worker.plugins if "dask-flow" in name])
    assert not any(plugins.values())


def noting(gather, names):
    def noted(self, futures):
        names.extend(future.key for future in futures)
        return gather(self, futures)

    return noted


def test_mapping_over_a_result_does_not_move_it_through_the_driver(client, monkeypatch):
    @task
    def large(n):
        return [bytes(1000)] * n

    with Flow("large") as flow:
        whole = total(task(len).map(large(Parameter("n"))))

    fetched = []
    with on_client(client) as backend:
        monkeypatch.setattr(type(backend), "gather", noting(type(backend).gather, fetched))
        run, state = run_on(backend, flow, {"n": 20_000}, keep={whole})

    held = run.by_task[next(each for each in flow.tasks if each.name == "large")].parts[0]
    assert state.is_successful()
    assert fetched
    assert not [name for name in fetched if name.startswith("large-")]
    assert held.future is None  # and it is released


def test_resources_of_a_tag_are_asked_of_workers(cluster):
    @task(tags={"dask-resource:GPU=1"})
    def where():
        return get_worker().name

    with Flow("gpu") as flow:
        result = where()

    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, resources={"GPU": 1}, dashboard_address=None
    ) as gpus:
        state = flow.run(executor=DaskExecutor(address=gpus.scheduler_address))

    assert state.result[result].is_successful()


def test_result_that_cannot_be_sent_to_another_worker_fails_by_name(executor, caplog):
    @task
    def lock(wait):
        distributed.Event(f"here-{wait}").set()
        distributed.Event(f"here-{1 - wait}").wait(30)  # on the other worker
        return threading.Lock()

    @task
    def both(one, other):
        return one, other

    @task
    def last(x):
        return x

    with Flow("locks") as flow:
        end = last(both(lock(0), lock(1)))

    with caplog.at_level(logging.ERROR, "dask_flow"):
        state = flow.run(executor=executor)

    assert state.is_failed()
    locks = [each for each in flow.tasks if each.name == "lock"]
    failed = [state.result[each] for each in locks if state.result[each].is_failed()]
    assert failed
    assert "cannot be sent to another worker: Could not serialize object of type lock" in str(failed[0].result)
    assert type(state.result[end]).__name__ == "TriggerFailed"
    assert "task lock failed" in caplog.text


@pytest.mark.parametrize("scheduler", ["sync", "threads", "processes"])
def test_local_dask_executor_runs_maps_triggers_and_failures(scheduler):
    @task
    def half(x):
        if x % 2:
            raise ValueError(x)
        return x // 2

    @task(trigger=any_failed)
    def process(halves):
        return os.getpid(), [each for each in halves if isinstance(each, int)]

    with Flow("halves") as flow:
        end = process(half.map([2, 3, 4]))

    state = flow.run(executor=LocalDaskExecutor(scheduler, num_workers=2))
    where, halves = state.result[end].result

    assert halves == [1, 2]
    assert (where != os.getpid()) is (scheduler == "processes")
    assert [each.is_failed() for each in state.result[flow.get_tasks("half")[0]].map_states] == [False, True, False]


@pytest.mark.parametrize("name", ["local", "threads", "processes", "cluster"])
def test_prints_and_logs_of_tasks_are_lines_with_the_tasks_name(executor, caplog, capsys, tmp_path, name):
    @task(log_stdout=True)
    def talk(x):
        print("printed", x)  # noqa: T201
        context.logger.warning("logged %s", x)
        logging.getLogger("a library").warning("of a library")

    with Flow("talk") as flow:
        talk.map([7])
        talk(8, task_args={"name": "other"})

    chosen = {"local": LocalExecutor(), "cluster": executor}.get(name) or LocalDaskExecutor(name, num_workers=1)
    handler = file_handler(tmp_path / "log")
    handler.addFilter(lambda record: not record.name.startswith("distributed"))
    logging.getLogger().addHandler(handler)
    with caplog.at_level(logging.INFO, "dask_flow.task"):
        flow.run(executor=chosen)
    logging.getLogger().removeHandler(handler)
    handler.close()

    assert capsys.readouterr().out == ""
    assert sorted(line[9:] for line in (tmp_path / "log").read_text().splitlines()) == [
        "task other: printed 8",
        "task talk[0]: printed 7",
        "warning: task other: logged 8",
        "warning: task other: of a library",
        "warning: task talk[0]: logged 7",
        "warning: task talk[0]: of a library",
    ]


def test_secret_in_an_argument_of_a_failed_task_is_not_in_a_workers_log(client, executor):
    @task
    def fail(password):
        raise ValueError("no")

    with Flow("secret") as flow:
        fail("hunter2")

    assert flow.run(executor=executor).is_failed()

    logs = client.get_worker_logs()
    assert "hunter2" not in str(logs)


def test_retry_runs_on_the_same_cluster(executor):
    import datetime as dt

    @task(max_retries=2, retry_delay=dt.timedelta(milliseconds=10))
    def flaky(x):
        if context.task_run_count < 3:
            raise ValueError(f"attempt {context.task_run_count}")
        return get_worker().address

    with Flow("flaky") as flow:
        one, several = flaky(1), flaky.map([1, 2, 3])

    state = flow.run(executor=executor)

    assert state.result[one].result.startswith("tcp://")
    assert len(state.result[several].result) == 3


def test_thousand_tasks_as_arguments_of_one_and_flattened_lists(executor):
    with Flow("wide") as flow:
        wide = total([double(number) for number in range(1000)])
        flat = total(double.map(flatten([[1, 2], [3]]), task_args={"name": "flat"}))
        both = task(lambda x, y: x + y).map([1, 2], unmapped(wide))

    state = flow.run(executor=executor)

    assert state.result[wide].result == 999_000
    assert state.result[flat].result == 12
    assert state.result[both].result == [999_001, 999_002]


def test_performance_report_is_written(cluster, tmp_path):
    with Flow("report") as flow:
        double(1)
    path = tmp_path / "report.html"

    flow.run(executor=DaskExecutor(address=cluster.scheduler_address, performance_report_path=str(path)))

    assert "bokeh" in path.read_text()


def test_cluster_is_made_and_closed_for_a_run():
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with Flow("own") as flow:
        result = double(4)

    state = flow.run(executor=DaskExecutor(cluster_class="distributed.LocalCluster", cluster_kwargs=options))

    assert state.result[result].result == 8
