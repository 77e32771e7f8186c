"""When worker pods that end are the end of the run."""

import time
from collections import Counter

import pytest
from dask_flow.clusters.spec_cluster import FORGIVEN_SECONDS, PodsCluster
from dask_flow.pod_status import Problem

OOM = Problem("pod w-0 ended: OOMKilled", "OOMKilled")


class Counting(PodsCluster):
    """A PodsCluster that counts failures, without pods and a scheduler."""

    scheduler_info = {"workers": {}}  # noqa: RUF012

    def __init__(self, allowed):
        self.lost = []
        self._on_lost = lambda error: self.lost.append(str(error))
        self._failures_allowed = allowed
        self._failures = Counter()
        self._refusals = 0

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
