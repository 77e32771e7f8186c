"""Values on their way: arguments as they were given, signals with results, results of items, and when they go."""

import copy
import threading
import time
from collections import Counter, OrderedDict

import numpy as np
import pytest
from dask_flow import Flow, context, task, unmapped
from dask_flow.engine import signals
from dask_flow.engine.entry import run_on
from dask_flow.engine.plan import Part
from dask_flow.executors import LocalExecutor, on_client


@task
def same(x):
    return x


@task
def total(numbers):
    return sum(numbers)


def test_signal_with_an_array_as_its_result_succeeds(executor):
    @task
    def array():
        raise signals.SUCCESS(result=np.arange(3))

    with Flow("array") as flow:
        end = array()

    assert flow.run(executor=executor).result[end].result.tolist() == [0, 1, 2]


def test_signal_that_is_its_own_result_is_so_when_it_is_copied():
    skip = copy.deepcopy(signals.SKIP("not now"))

    assert skip.state.result is skip
    assert (skip.args, skip.state.message) == (("not now",), "not now")
    assert copy.deepcopy(signals.SKIP("not now", result=None)).state.result is None


def test_collections_without_tasks_keep_their_class_beside_a_task(executor):
    given = [Counter("aab"), OrderedDict(a=1), time.gmtime(0)]
    with Flow("classes") as flow:
        listed, whole = same([*given, same(1)]), same({"given": given, "one": same(1)})

    for each in (LocalExecutor(), executor):
        state = flow.run(executor=each)
        for values in (state.result[listed].result[:3], state.result[whole].result["given"]):
            assert [type(value) for value in values] == [Counter, OrderedDict, time.struct_time]
            assert values == given


def test_what_an_item_adds_to_the_context_is_its_own():
    @task
    def item(x):
        found = context.map_index, context.get("mine")
        context.update(mine=x)
        return found, context.map_index

    with Flow("items") as flow:
        items = item.map([7, 8, 9])

    assert flow.run().result[items].result == [((number, None), number) for number in range(3)]


def test_item_that_cannot_be_fetched_leaves_those_of_other_groups(executor):
    @task(batch=5)
    def item(x):
        return threading.Lock() if x == 0 else x

    with Flow("lock") as flow:
        items = item.map(list(range(10)))

    states = flow.run(executor=executor).result[items].map_states

    assert [each.result for each in states[5:]] == [5, 6, 7, 8, 9]
    with pytest.raises(TypeError, match="could not be fetched"):
        assert states[0].result


def test_what_all_items_need_is_looked_at_once_and_released(client, monkeypatch):
    looked_at = []
    users_in = Part._users_in

    def counted(*args):
        users = users_in(*args)
        looked_at.append(len(users))
        return users

    @task(batch=1)
    def second(x, y):
        return y

    monkeypatch.setattr(Part, "_users_in", counted)
    with Flow("many") as flow:
        one = same(1)
        end = total(second.map(list(range(300)), unmapped(one)))

    with on_client(client) as backend:
        run, state = run_on(backend, flow, {}, keep={end})
        assert run.by_task[one].parts[0].future is None
        assert state.result[end].result == 300

    assert sum(looked_at) < 10 * 300
