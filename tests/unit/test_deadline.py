"""A start has one deadline: what waits for the scheduler leaves less for the workers."""

from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from dask_flow.clusters import deadline
from dask_flow.clusters.deadline import Deadline
from dask_flow.clusters.scheduler import SchedulerPod
from dask_flow.clusters.temporary import wait_for_worker
from dask_flow.errors import StartupError


class Objects:
    """The objects of a run, of which those of these roles await admission."""

    scheduler_address = "tcp://s"

    def __init__(self, *roles):
        self.roles = set(roles)

    def await_admission(self, role):
        return role in self.roles

    def problems(self):
        return ["no room"]


class Clock:
    """A clock that goes on by one second whenever somebody waits for `future`; what is `at` a time happens then."""

    def __init__(self, at):
        self.now, self.at, self.future = 0, at, self
        self.error = None

    def monotonic(self):
        return self.now

    def result(self, seconds):
        self.now += min(seconds, 1)
        self.at.get(self.now, lambda: None)()
        if self.now == max(self.at):
            return "tcp://w"
        raise TimeoutError


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
    with pytest.raises(StartupError, match="no worker joined within 1000 s: no room"):
        wait_for_worker(SimpleNamespace(first_worker=Future()), Objects(), late)


def test_worker_that_is_there_counts_although_it_is_over(late):
    joined = Future()
    joined.set_result("tcp://w")

    wait_for_worker(SimpleNamespace(first_worker=joined), Objects(), late)


def test_schedulers_pod_is_not_waited_for_when_it_is_over(late):
    with pytest.raises(StartupError, match="the Dask scheduler was not ready within 1000 s: no room"):
        SchedulerPod(Objects(), None).wait_until_ready(late)


@pytest.mark.parametrize("seconds", [15, 25])
def test_time_in_which_all_workers_await_admission_does_not_count(monkeypatch, seconds):
    objects = Objects("worker")
    clock = Clock({100: objects.roles.clear, 100 + seconds: lambda: None})
    monkeypatch.setattr(deadline.time, "monotonic", clock.monotonic)
    cluster, start = SimpleNamespace(first_worker=clock), Deadline(20)

    if seconds < 20:
        wait_for_worker(cluster, objects, start)
    else:
        with pytest.raises(StartupError, match="no worker joined within 20 s: no room"):
            wait_for_worker(cluster, objects, start)

    assert clock.now == 100 + min(seconds, 20)
