"""A start has one deadline: what waits for the scheduler leaves less for the workers."""

from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from dask_flow.clusters import deadline
from dask_flow.clusters.deadline import Deadline
from dask_flow.clusters.scheduler import SchedulerPod
from dask_flow.clusters.temporary import wait_for_worker
from dask_flow.errors import StartupError


@pytest.fixture
def late(monkeypatch):
    """Return a deadline of 1,000 seconds that is over."""
    now = [0.0]
    monkeypatch.setattr(deadline.time, "monotonic", lambda: now[0])
    made = Deadline(1000)
    assert made.left == 1000
    now[0] = 1001
    return made


def test_nothing_is_left_when_it_is_over(late):
    assert (late.left, late.seconds) == (0, 1000)


def test_worker_is_not_waited_for_when_it_is_over(late):
    objects = SimpleNamespace(problems=lambda: ["no room"])

    with pytest.raises(StartupError, match="no worker joined within 1000 s: no room"):
        wait_for_worker(SimpleNamespace(first_worker=Future()), objects, late)


def test_worker_that_is_there_counts_although_it_is_over(late):
    joined = Future()
    joined.set_result("tcp://w")

    wait_for_worker(SimpleNamespace(first_worker=joined), None, late)


def test_schedulers_pod_is_not_waited_for_when_it_is_over(late):
    objects = SimpleNamespace(scheduler_address="tcp://s", problems=lambda: ["no room"])

    with pytest.raises(StartupError, match="the Dask scheduler was not ready within 1000 s: no room"):
        SchedulerPod(objects, None).wait_until_ready(late)
