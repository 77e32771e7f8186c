"""When worker pods that end are the end of the run, and which are let go."""

import asyncio
import time
from collections import Counter, defaultdict
from concurrent.futures import Future
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from dask_flow.clusters.run_cluster import FORGIVEN_SECONDS
from dask_flow.clusters.spec_cluster import PodsAdaptive, PodsCluster, WorkerPod
from dask_flow.errors import StartupError
from dask_flow.pod_status import Problem
from distributed.comm import CommClosedError
from distributed.core import Status

OOM = Problem("pod w-0 ended: OOMKilled", "OOMKilled")


class Counting(PodsCluster):
    """A PodsCluster that counts failures, without pods and a scheduler."""

    scheduler_info = {"workers": {}}  # noqa: RUF012
    status = Status.running

    def __init__(self, allowed=0):
        self.lost = []
        self._on_lost = lambda error: self.lost.append(str(error))
        self._failures_allowed = allowed
        self._failures = Counter()
        self._refusals = 0
        self._startup_timeout = 60.0
        self._joins = 0
        self.last_problem = None
        self._joined_at = {}
        self._fixed_size = None
        self._ending = set()
        self.worker_names, self.worker_spec, self.workers, self.later = {}, {}, {}, []
        self.first_worker = Future()
        self.gated = False
        self.problems = ["pod w-1 is not scheduled"]
        self.objects = SimpleNamespace(
            processes=1,
            problems=lambda: self.problems,
            ails=lambda _: False,
            await_admission=lambda _: self.gated,
            lost=False,
            failing=set,
            refused=lambda name, error: self.problems.append(f"pod {name} could not be made: {error}"),
        )

    @property
    def loop(self):
        return SimpleNamespace(
            call_later=lambda *call: self.later.append(call), add_callback=lambda call, *args: call(*args)
        )

    def __del__(self):
        pass


@pytest.fixture
def now():
    return time.monotonic()


def test_one_failure_more_than_allowed_of_one_cause_ends_the_run(now):
    cluster = Counting(allowed=1)

    pauses = [cluster._count_failure(found, now) for found in (OOM, Problem("crash", "exit code 1"), OOM)]

    assert pauses == [0, 0, 0]
    assert cluster.lost == [
        (
            "2 worker pods ended by the same cause, OOMKilled, more than --allowed-failures 1; "
            "the last: pod w-0 ended: OOMKilled"
        )
    ]


def test_preemption_by_a_queue_is_no_failure():
    cluster = Counting(allowed=0)
    cluster.worker_spec = {f"w-{number}": {} for number in range(20)}

    for name in cluster.worker_spec:
        cluster.pod_ended(name, Problem("by u-1", "WorkloadEvictedDueToPreempted", disruption=True))

    assert cluster.lost == []
    assert len(cluster.later) == 20


def test_pod_that_worked_for_long_is_not_counted(now):
    cluster = Counting(allowed=0)

    cluster._count_failure(OOM, now - FORGIVEN_SECONDS - 1)

    assert cluster.lost == []


def test_pods_that_never_join_end_the_run_only_if_there_is_no_worker():
    cluster, refused = Counting(allowed=1), Problem("quota", "refused")
    cluster.scheduler_info = {"workers": {"tls://w": {}}}

    pauses = [cluster._count_failure(refused, None) for _ in range(7)]
    lost_with_a_worker = list(cluster.lost)
    cluster.scheduler_info = {"workers": {}}
    cluster._count_failure(refused, None)

    assert pauses == [2, 4, 8, 16, 30, 30, 30]
    assert lost_with_a_worker == []
    assert len(cluster.lost) == 1


def joined(name, address="tls://w"):
    return {"workers": {address: {"name": name}}}


def come_and_go(cluster):
    cluster.scheduler_info = {"workers": {}}

    async def tell():
        cluster._update_worker_status("add", joined("w-0", "tls://a"))
        cluster._update_worker_status("remove", "tls://a")

    asyncio.run(tell())


def pass_time(cluster, gated=lambda _: False):
    """Do what is due, until the run is lost or after 1000 seconds; return how many seconds have passed."""
    passed = 0
    while cluster.later and not cluster.lost and passed < 1000:
        seconds, due, *args = cluster.later.pop()
        passed += seconds
        cluster.gated = gated(passed)
        due(*args)
    return passed


@pytest.mark.parametrize("back", [True, False])
def test_run_whose_workers_are_all_gone_ends_if_none_comes_back_in_time(back):
    cluster = Counting()
    come_and_go(cluster)

    if back:
        cluster._update_worker_status("add", joined("w-1", "tls://b"))
    pass_time(cluster)

    assert cluster.lost == (
        [] if back else ["all workers are gone, and no other joined within 60 s: pod w-1 is not scheduled"]
    )


@pytest.mark.parametrize(
    ("gated", "seconds"),
    [
        (lambda _: False, 60),
        (lambda passed: passed < 59.9, 120),
        (lambda passed: 59.5 < passed < 60.5, 61),
        (lambda passed: 20 < passed < 300, 340),
        (lambda _: True, 1000),
    ],
)
def test_run_whose_workers_are_all_preempted_has_its_startup_timeout_without_the_time_in_the_queue(gated, seconds):
    cluster = Counting()
    come_and_go(cluster)

    assert pass_time(cluster, gated) == pytest.approx(seconds, abs=1)
    assert bool(cluster.lost) == (seconds < 1000)


def test_last_failure_is_said_if_nothing_keeps_pods_from_running():
    cluster = Counting()
    cluster.problems, cluster.last_problem = [], OOM
    come_and_go(cluster)

    pass_time(cluster)

    assert cluster.lost == ["all workers are gone, and no other joined within 60 s: pod w-0 ended: OOMKilled"]


def test_pod_that_could_not_be_made_is_among_those_that_do_not_run():
    cluster = Counting()

    def refuse(_):
        raise StartupError("exceeded quota: small")

    cluster.objects.create_workers = refuse
    asyncio.run(WorkerPod("tls://s", "w-2", cluster).start())

    assert cluster.problems == ["pod w-1 is not scheduled", "pod w-2 could not be made: exceeded quota: small"]


@pytest.mark.parametrize("recovered", [True, False])
def test_pod_that_could_not_start_but_did_in_the_meantime_stays(recovered):
    cluster = Counting(allowed=9)
    cluster.scheduler_info = {"workers": {}}
    cluster.worker_spec = {"w-0": {}}
    cluster._replace("w-0", Problem("busy registry", "ErrImagePull"))
    ((_, drop, *args),) = cluster.later

    if recovered:
        cluster._update_worker_status("add", joined("w-0"))
    asyncio.run(drop(*args))

    assert set(cluster.worker_spec) == ({"w-0"} if recovered else set())


def test_pod_whose_deletion_is_refused_is_deleted_later():
    cluster, asked = Counting(), []

    def delete(name):
        asked.append(name)
        if len(asked) == 1:
            raise StartupError("the Kubernetes API cannot be reached")

    cluster.objects.delete_worker = delete

    async def close():
        await WorkerPod("tls://s", "w-0", cluster).close()
        ((_, again),) = cluster.later
        await again()

    asyncio.run(close())

    assert asked == ["w-0", "w-0"]
    assert len(cluster.later) == 1


class Scheduler:
    """Answers what adaptive scaling asks of Dask's scheduler."""

    def __init__(self, target, idle=(), stuck=()):
        self.workers, self.idle, self.stuck = target, idle, stuck
        self.minimum = None

    async def adaptive_target(self, target_duration):
        return self.workers

    async def workers_to_close(self, minimum, key, attribute):
        self.minimum = minimum
        return list(self.idle)

    async def retire_workers(self, names, remove, close_workers):
        return {name: {"name": name} for name in names if name not in self.stuck}


class Cluster:
    """Pods of two workers each: of `joined`, both are there."""

    def __init__(self, scheduler, pods, joined):
        self.scheduler_comm = scheduler
        self.objects = SimpleNamespace(processes=2)
        self.worker_spec = dict.fromkeys(pods)
        self.workers = dict.fromkeys(pods)
        self.there = joined
        self.gone = None

    pod_of = staticmethod(lambda worker: worker.rpartition("-")[0])

    def joined(self):
        return defaultdict(set, {pod: {f"{pod}-0", f"{pod}-1"} for pod in self.there})

    async def scale_down(self, pods):
        self.gone = sorted(pods)


def adaptive(cluster, **options):
    made = PodsAdaptive(cluster, interval=0, minimum=1, maximum=4, wait_count=1, **options)
    made.worker_key = Cluster.pod_of
    return made


def test_target_and_recommendations_are_in_pods():
    scaling = adaptive(Cluster(Scheduler(target=3), ["a", "b"], joined=["a"]))

    target = asyncio.run(scaling.target())

    assert target == 2
    assert asyncio.run(scaling.recommendations(target)) == {"status": "same"}
    assert asyncio.run(scaling.recommendations(1)) == {"status": "down", "workers": ["b"]}
    assert asyncio.run(scaling.recommendations(3)) == {"status": "up", "n": 3}


def test_idle_pods_go_and_draining_ones_do_not_count_as_those_that_stay():
    scheduler = Scheduler(target=2, idle=["a-0", "a-1"])
    scaling = adaptive(Cluster(scheduler, ["a", "b"], joined=["a", "b", "evicted"]))

    pods = asyncio.run(scaling.workers_to_close(1))

    assert pods == ["a"]
    assert scheduler.minimum == 4


@pytest.mark.parametrize("goes_on", [True, False])
def test_connection_that_breaks_as_the_cluster_closes_is_no_news(goes_on):
    cluster = Cluster(Scheduler(target=2), ["a"], joined=["a"])
    cluster.goes_on = lambda: goes_on
    scaling = adaptive(cluster)

    async def broken(target_duration):
        raise CommClosedError

    cluster.scheduler_comm.adaptive_target = broken
    with pytest.raises(CommClosedError) if goes_on else nullcontext():
        asyncio.run(scaling.adapt())


def test_pod_whose_results_nobody_can_take_stays():
    cluster = Cluster(Scheduler(target=2, stuck=["a-1"]), ["a", "b", "new"], joined=["a", "b"])

    asyncio.run(adaptive(cluster).scale_down(["a", "b", "new"]))

    assert cluster.gone == ["b", "new"]
