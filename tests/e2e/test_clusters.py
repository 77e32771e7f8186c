"""What every kind of cluster owes a flow: the same flows in the same releases, with nothing but the kind changed."""

import re

import pytest
from namespaces import ROOT, flow

KINDS = ("local", "pods", "static", "operator")

FLOW = """
import os
from dask_flow import Flow, Parameter, case, task

@task(log_stdout=True)
def numbers(count):
    print("counting to", count)
    return list(range(count))

@task
def square(n):
    return n * n

@task
def total(numbers):
    return sum(numbers)

@task(max_retries=0)
def divide(n, by):
    return n / by

@task
def shout(text):
    return text.upper()

with Flow("contract") as flow:
    by = Parameter("by", default=4)
    whole = total(square.map(numbers(Parameter("count"))))
    divide(whole, by)
    shout(os.environ["GREETING"])
"""
FUNCTION = """
import os

def setting():
    return os.environ["GREETING"]

def main(client, count: int):
    import dask.array
    futures = client.map(pow, range(count), [2] * count)
    array = dask.array.ones((200, 200), chunks=100).sum()
    return sum(client.gather(futures)), float(array.compute()), client.submit(setting).result()
"""
SCRIPT = """
from distributed import Client

with Client() as client:
    print("sum of squares:", sum(client.gather(client.map(pow, range(30), [2] * 30))), flush=True)
"""
DIES = """
import os, signal
from dask_flow import Flow, task

@task
def die():
    os.kill(os.getpid(), signal.SIGKILL)

with Flow("dies") as flow:
    die()
"""
WAITS = "import time\ndef main(client):\n    client.submit(abs, 1).result()\n    time.sleep(600)\n"
ENV = [{"name": "GREETING", "value": "hello"}]
TOTAL = sum(n * n for n in range(30))


@pytest.fixture(params=KINDS)
def clusters(request, namespace):
    """Return a function that installs a release for a flow on this kind of cluster, and starts a run of it."""
    values = {"cluster": {"mode": request.param}, "run": {"backoffLimit": 0}}
    if request.param == "operator":
        request.getfixturevalue("operator")
    if request.param == "static":
        args = ("--wait", "--timeout", "2m", "-f", ROOT / "values/static.yaml")
        namespace.install("static", *args, static={"env": ENV})
        values["cluster"]["address"] = "tcp://dask-scheduler:8786"

    def start(text, **flow_values):
        namespace.install(flow=flow(text, env=ENV, **flow_values), **values)
        start.before = namespace.objects()
        return namespace.start()

    return start


def test_flow_gives_the_same_results(namespace, clusters):
    end = namespace.finish(clusters(FLOW, params={"count": 30}))

    assert (end.condition, end.exit_code, end.reason) == ("Complete", 0, "the flow succeeded"), end.log
    assert "task numbers: counting to 30" in end.log
    assert f"result of divide: {TOTAL / 4}" in end.log
    assert "result of shout: HELLO" in end.log
    assert re.search("square: 30 items in", end.log)
    assert_nothing_is_left(namespace, clusters)


def test_function_and_collections_give_the_same_results(namespace, clusters):
    end = namespace.finish(clusters(FUNCTION, params={"count": 30}))

    assert end.exit_code == 0, end.log
    assert f"result of main: ({TOTAL}, 40000.0, 'hello')" in end.log


def test_script_gives_the_same_results(namespace, clusters):
    end = namespace.finish(clusters(SCRIPT))

    assert (end.exit_code, f"sum of squares: {TOTAL}" in end.log) == (0, True), end.log


def test_failure_of_a_task_is_the_flows_and_final(namespace, clusters):
    end = namespace.finish(clusters(FLOW, params={"count": 30, "by": 0}))

    assert (end.condition, end.exit_code) == ("Failed", 1), end.log
    assert end.reason == "the flow failed: task divide: ZeroDivisionError: division by zero"
    assert_nothing_is_left(namespace, clusters)


def test_task_that_kills_its_workers_fails_the_flow_by_name(namespace, clusters):
    end = namespace.finish(clusters(DIES), seconds=240)

    assert end.exit_code == 1, end.log
    assert end.reason.startswith("the flow failed: task die: KilledWorker: "), end.reason


def test_run_that_is_told_to_end_leaves_nothing(namespace, clusters):
    clusters(WAITS)
    runner = namespace.wait_for_log("dashboard: ")

    namespace.kubectl("delete", "job", "run", "--wait=false")

    namespace.wait_for(lambda: f"pod/{runner}" not in namespace.objects(), "the runner's end")
    assert_nothing_is_left(namespace, clusters, runner=False)


def assert_nothing_is_left(namespace, clusters, *, runner=True):
    """The runner's own pod stays with its Job; all else that the run made is gone soon."""
    left = {f"pod/{namespace.runners()[0]['metadata']['name']}"} if runner else set()
    namespace.wait_for(lambda: namespace.objects() - clusters.before <= left, "the end of what the run made", 30)
