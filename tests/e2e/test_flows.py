"""Flows of tasks on worker pods: maps, retries, prints, failures, and workers that die in the middle."""

import re

from namespaces import ROOT, flow

MAPPED = """
import os, time
from dask_flow import Flow, task, context

@task
def numbers():
    return list(range(3000))

@task
def slow(x):
    time.sleep(0.01)
    return x

@task
def square(x):
    return x * x

@task(log_stdout=True)
def total(values):
    print("from", os.uname().nodename)
    return f"{sum(values)} of {len(values)}"

with Flow("squares") as flow:
    total(square.map(slow.map(numbers())))
"""

FAILING = """
from dask_flow import Flow, task, context

@task
def fine():
    print("printed on a worker")
    context.logger.warning("logged on a worker")

@task
def picky(x):
    if x == 3:
        raise KeyError("three")
    return x

@task
def after(values):
    return values

with Flow("failing") as flow:
    fine()
    after(picky.map(list(range(5))))
"""


def test_worker_killed_in_the_middle_of_a_map_costs_no_result(namespace):
    namespace.install(flow=flow(MAPPED), cluster={"minWorkers": 2, "maxWorkers": 2})
    namespace.start()
    _, worker = namespace.running_worker()
    namespace.wait_for(lambda: len(namespace.workers("Running")) == 2, "two workers")

    namespace.kill(worker, "psutil.Process(1).children()[0]")
    end = namespace.finish()

    assert end.exit_code == 0, end.log
    assert f"result of total: {sum(x * x for x in range(3000))} of 3000" in end.log
    assert f"pod {worker} ended: container worker: Error, exit code 137" in end.log
    assert re.search(rf"task total: from {end.pod}-worker-\d", end.log)
    assert namespace.workers() == []


def test_example_with_retries_branches_and_a_map_runs_on_worker_pods(namespace):
    text = (ROOT / "examples/orders.py").read_text()
    namespace.install(flow=flow(text, params={"count": 500}), cluster={"minWorkers": 1, "maxWorkers": 2})

    end = namespace.finish(namespace.start())

    assert end.exit_code == 0, end.log
    assert "task report: 45 orders of 500 are to be looked at" in end.log
    assert "task close: closed" in end.log
    assert re.search(r"checked: 500 items in \d+ tasks, .* on [\w-]+-worker-\d", end.log)


def test_failed_item_is_the_reason_and_prints_of_workers_are_in_the_log(namespace):
    namespace.install(flow=flow(FAILING))

    end = namespace.finish(namespace.start())

    assert end.exit_code == 1, end.log
    assert end.reason == "the flow failed: task picky[3]: KeyError: 'three'; not run because of it: after"
    assert "task fine: printed on a worker" in end.log
    assert "warning: task fine: logged on a worker" in end.log
    assert "Compute Failed" not in end.log
