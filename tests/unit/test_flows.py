import time

import dask
import pytest
from dask_flow import Flow, Parameter, Task, context, task, triggers
from dask_flow.engine import signals
from dask_flow.errors import InputError
from dask_flow.flows import dag, function, prefect1, short
from dask_flow.report.tasks import group_tasks
from distributed import Client, LocalCluster


@pytest.fixture(scope="module")
def client():
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


@task
def add(x, y=0):
    return x + y


@task
def fail():
    raise ValueError("no")


def test_flow_results_of_terminal_tasks_are_short_texts(client):
    with Flow("sum") as flow:
        n = Parameter("n", default=2)
        add(add(n, 1), add(1, n), task_args={"name": "total"})

    result = dag.run(flow, client, {"n": 5})

    assert result.results == {"total": "12"}
    assert not result.errors


def test_flow_resolves_tasks_and_parameters_inside_collections(client):
    @task
    def merge(parts, extra):
        return sorted(parts["numbers"] + [extra[0]])

    with Flow("collections") as flow:
        merge({"numbers": [add(1), add(2)]}, (Parameter("p"),))

    assert dag.run(flow, client, {"p": 0}).results == {"merge": "[0, 1, 2]"}


def test_flow_runs_a_task_after_its_upstream_without_its_data(client, tmp_path):
    @task
    def first(number):
        time.sleep(0.01)
        (tmp_path / str(number)).touch()

    @task
    def second(number):
        return (tmp_path / str(number)).exists()

    flow = Flow("order")
    for number in range(10):
        before, after = first.copy(), second.copy()
        before.bind(number=number, flow=flow)
        after.bind(number=number, flow=flow)
        after.set_upstream(before, flow=flow)

    result = dag.run(flow, client, {})

    assert result.results == {f"second[{number}]": "True" for number in range(10)}


@pytest.mark.parametrize(("batch", "count"), [(None, 3), (1, 3), (2, 12), (1, 12)])
def test_first_items_of_a_map_are_shown_however_they_are_grouped(client, batch, count):
    with Flow("items") as flow:
        add.map(list(range(count)), task_args={"batch": batch})

    more = ", 5, 6, 7, 8, 9, …] (12 items in all)" if count == 12 else "]"
    assert dag.run(flow, client, {}).results == {"add": f"[0, 1, 2{', 3, 4' * (count > 3)}{more}"}


@pytest.mark.parametrize("batch", [1, None])
def test_items_without_a_value_are_shown_by_their_states(client, batch):
    @task(batch=batch)
    def even(x):
        if x % 2:
            raise ValueError(x)
        return x

    with Flow("items") as flow:
        even.map([0, 1, 2])
        flow.set_reference_tasks([add(1)])

    failed = '<Failed: "Error during execution of task: ValueError(1)">'
    assert dag.run(flow, client, {}).results == {"even": f"[0, {failed}, 2]", "add": "1"}


def test_result_that_a_signal_has_is_shown(client):
    @task
    def ends(signal, **options):
        raise signal("so", **options)

    with Flow("signals") as flow:
        ends(signals.SUCCESS, result=42)
        ends(signals.SUCCESS, task_args={"name": "plain"})
        ends(signals.SKIP, task_args={"name": "skips"})

    assert dag.run(flow, client, {}).results == {"ends": "42"}


def test_task_that_its_trigger_kept_from_running_says_why(client, caplog):
    def odd(_):
        raise KeyError("odd")

    with Flow("triggers") as flow:
        wanted = add(add(1), task_args={"name": "wanted", "trigger": triggers.any_failed})
        add(wanted, task_args={"name": "after"})
        add(1, task_args={"name": "odd", "trigger": odd})

    result = dag.run(flow, client, {})

    assert {name: str(error) for name, error in result.errors.items()} == {
        "wanted": 'Trigger was "any_failed" but none of the upstream tasks failed.',
        "odd": "'odd'",
    }
    assert result.skipped == ("after",)
    assert "task odd: unexpected error while checking its trigger:\nTraceback" in caplog.text


def test_flow_error_reaches_downstream_and_spares_the_rest(client):
    with Flow("failing") as flow:
        add(fail(), task_args={"name": "downstream"})
        add(3, 4)

    result = dag.run(flow, client, {})

    assert list(result.errors) == ["fail"]
    assert str(result.errors["fail"]) == "no"
    assert result.skipped == ("downstream",)
    assert result.results == {"add": "7"}


@pytest.mark.parametrize("engine", ["ours", "Prefect 1's"])
def test_map_over_a_task_that_failed_is_no_failure_of_its_own(client, engine):
    @task
    def mean(item):
        return item

    with Flow("stations") as flow:
        measured = add.map(fail(), task_args={"name": "measured"})
        add(mean.map(measured), task_args={"name": "warmest"})

    # Prefect 1's states are ours, but for their module.
    result = dag.run(flow, client, {}) if engine == "ours" else prefect1._result(flow, flow.run())

    assert list(result.errors) == ["fail"]
    assert sorted(result.skipped) == ["mean", "measured", "warmest"]
    assert sum(each.failed for each in result.counts.values()) == (1 if engine == "ours" else 0)


@pytest.mark.parametrize("name", ["key", "workers", "retries", "pure", "priority"])
def test_arguments_may_have_the_names_of_those_of_submit(client, name):
    namespace = {}
    exec(f"def f(first=1, *, {name}): return {name}", namespace)  # noqa: S102
    flow = Flow("names")
    task(namespace["f"]).bind(flow=flow, **{name: "mine"})

    assert dag.run(flow, client, {}).results == {"f": "mine"}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"m": 1, "n": 1}, "flow 'sum' has no parameter 'm'; it has n"),
        ({}, "flow 'sum' needs a value for n; give --param n=VALUE"),
    ],
)
def test_flow_refuses_wrong_parameters_before_it_starts(params, message):
    with Flow("sum") as flow:
        add(Parameter("n"))

    with pytest.raises(InputError, match=message):
        dag.check(flow, params)


def test_flow_refuses_a_task_without_its_argument():
    flow = Flow("sum")
    add.copy().set_upstream(Task("before"), flow=flow)

    with pytest.raises(InputError, match="task 'add': missing a required argument: 'x'; bind the argument"):
        dag.check(flow, {})


def test_task_refuses_a_trigger_that_is_not_here():
    with pytest.raises(InputError, match="the trigger manual_only is not here"):
        task(add.run, trigger=triggers.manual_only)


def test_flow_refuses_to_be_empty():
    with pytest.raises(InputError, match="flow 'none' has no tasks"):
        dag.check(Flow("none"), {})


def test_function_gets_client_and_parameters_and_its_future_is_computed(client):
    def flow(client, n, times=2):
        return client.submit(lambda: n * times)

    assert function.run(flow, client, {"n": 21}).results == {"flow": "42"}


def test_futures_and_collections_may_be_mixed_in_what_a_function_returns(client):
    def main(client):
        return [dask.delayed(len)("abc"), {"future": client.submit(len, "ab")}, 1]

    assert function.run(main, client, {}).results == {"main": "[3, {'future': 2}, 1]"}


def test_function_error_is_its_own(client):
    def flow():
        raise KeyError("x")

    assert isinstance(function.run(flow, client, {}).errors["flow"], KeyError)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"m": 1, "n": 1}, r"flow\(\) has no parameter 'm'; it has n"),
        ({"client": 1, "n": 1}, r"flow\(\) has no parameter 'client'"),
        ({}, r"flow\(\) needs a value for n"),
    ],
)
def test_function_refuses_wrong_parameters(params, message):
    def flow(client, n):
        pass

    with pytest.raises(InputError, match=message):
        function.check(flow, params)


def test_short_says_how_long_it_would_be():
    assert short("as it is") == "as it is"
    assert short("x" * 100, limit=58) == "xxxxxx… (92 characters left out) …xx"


def test_many_names_are_kept_by_few(client, caplog):
    @task
    def knows(name):
        assert context.task_full_name == name

    @task
    def goes_wrong():
        raise ValueError("no")

    with Flow("names") as flow:
        for number in range(150):
            knows(f"number{number}", task_args={"name": f"number{number}"})
            goes_wrong(task_args={"name": f"wrong{number}"})
            add(1)

    before = set(client.run_on_scheduler(prefixes_of))
    client.get_task_stream()
    started = time.time()
    result = dag.run(flow, client, {})
    groups = group_tasks(client.get_task_stream(start=started), {}, result.counts)

    new = client.run_on_scheduler(prefixes_of) - before
    assert len([name for name in new if name.startswith(("number", "wrong"))]) < 100
    assert result.results["add[0]"] == "1"
    assert result.results["more tasks"] == "350 of them"
    assert [name for name in result.errors if not name.startswith("wrong")] == []
    assert len(groups) == 101
    assert next(each.count for each in groups if each.name == "add") == 150
    assert sum(each.failed for each in groups) == 150
    assert caplog.text.count("Traceback") == 100
    assert "50 more failures are not logged" in caplog.messages


def prefixes_of(dask_scheduler):
    return set(dask_scheduler.task_prefixes)
