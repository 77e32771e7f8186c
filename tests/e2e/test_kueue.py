"""Runs in a queue of Kueue's: what is admitted, what waits, and what is preempted."""

import re

import pytest
from kueue import CPU, LABEL, Kueue, Queue, workloads
from namespaces import OWN_NODE, SLOW, UP_AND_DOWN, flow

pytestmark = [OWN_NODE, pytest.mark.kueue, pytest.mark.timeout(900)]

REQUESTS = {"requests": {"cpu": f"{CPU}m"}}
WORKER = f"spec: {{containers: [{{name: worker, resources: {{requests: {{cpu: {CPU}m}}}}}}]}}"
SCHEDULER = f"""
metadata: {{labels: {{kueue.x-k8s.io/priority-class: first}}}}
spec: {{containers: [{{name: scheduler, resources: {{requests: {{cpu: {CPU}m}}}}}}]}}
"""
TASKS = """
import time
def work(n):
    time.sleep(0.5)
    return n
def main(client):
    client.wait_for_workers(2)
    total = sum(client.gather(client.map(work, range(20))))
    return f"{total} on {len(client.nthreads())} workers"
"""
ANOTHER = """
import time
def main(client):
    client.wait_for_workers(2)
    first = set(client.nthreads())
    print("two workers are there")
    while set(client.nthreads()) <= first:
        time.sleep(0.2)
    return client.submit(pow, 2, 10).result()
"""
ONE = "def main(client): return client.submit(pow, 2, 10).result()\n"
LACK = r"insufficient unused quota for cpu in flavor default, \d+m more needed"


@pytest.fixture(scope="module")
def controller(_cluster, tmp_path_factory):
    with Kueue(tmp_path_factory.mktemp("kueue")) as running:
        yield running


@pytest.fixture
def managed(namespace, controller):
    """A namespace whose Jobs and pods Kueue manages, if they name a queue."""
    namespace.kubectl("label", "namespace", namespace.name, *(f"{key}={value}" for key, value in LABEL.items()))
    return namespace


def install(namespace, text, workers=(1, 1), queue="team", **cluster):
    cluster = {"minWorkers": workers[0], "maxWorkers": workers[1], "workerSpec": WORKER, **cluster}
    run = {"queueName": queue, "backoffLimit": 0}
    namespace.install(flow=flow(text), cluster=cluster, run=run, runner={"resources": REQUESTS})
    # Of a CronJob's finished Jobs, Kubernetes keeps the last three only.
    namespace.kubectl("patch", "cronjob", "r-dask-flow", "-p", '{"spec": {"successfulJobsHistoryLimit": 20}}')


def pods_of(namespace, **state):
    """Return how many pods of the cluster wait in the queue or are out of it."""
    return sum("-worker-" in name or name.endswith("-scheduler") for name in workloads(namespace, **state))


def waits(namespace, waiting, admitted=0):
    def all_are_there():
        return [pods_of(namespace, admitted=state) for state in (False, True)] == [waiting, admitted]

    namespace.wait_for(all_are_there, f"{waiting} pods in the queue, and {admitted} admitted")


def urgent(namespace, pods):
    """Start a pod that takes the room of so many, whoever has it."""
    labels = {"kueue.x-k8s.io/queue-name": "team", "kueue.x-k8s.io/priority-class": "first"}
    security = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    container = {
        "name": "urgent",
        "image": "localhost/pause:1",
        "resources": {"requests": {"cpu": f"{pods * CPU}m"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    spec = {"containers": [container], "securityContext": security}
    namespace.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "urgent", "labels": labels}, "spec": spec})
    namespace.wait_for(lambda: "urgent" in workloads(namespace, admitted=True), "the urgent pod's admission")


def nothing_is_left(namespace, before, *run_names):
    runners = {f"pod/{pod['metadata']['name']}" for name in run_names for pod in namespace.runners(name)}
    assert namespace.objects() - before == runners
    namespace.wait_for(lambda: pods_of(namespace) == 0, "the end of the workers' Workloads")
    namespace.kubectl("delete", "job", "--all")
    namespace.wait_for(lambda: not namespace.get("workloads.kueue.x-k8s.io")["items"], "the end of the runs' Workloads")


def test_workers_beyond_the_quota_wait_in_the_queue_and_the_run_goes_on_without_them(managed):
    Queue(managed, "team", pods=3)
    install(managed, TASKS, workers=(4, 4))
    before = managed.objects()

    managed.start()
    waits(managed, 2, admitted=2)
    gated = [
        pod["metadata"]["name"]
        for pod in managed.get("pods")["items"]
        if any(gate["name"] == "kueue.x-k8s.io/admission" for gate in pod["spec"].get("schedulingGates", []))
    ]
    end = managed.finish()

    assert len(gated) == 2
    assert "result of main: 190 on 2 workers" in end.log
    assert re.search(rf"waiting: pod .*-worker-\d waits to be admitted by Kueue to the queue team: .*{LACK}", end.log)
    nothing_is_left(managed, before, "run")


def test_time_in_the_queue_is_no_part_of_the_startup_timeout(managed):
    queue = Queue(managed, "team", pods=1)
    install(managed, ONE, startupTimeoutSeconds=30)
    managed.start()
    runner = managed.wait_for_log("waits to be admitted by Kueue to the queue team: ")
    # Longer than a start may take.
    managed.kubectl("exec", runner, "--", "sleep", "31")

    queue.resize(2)
    end = managed.finish()

    assert "result of main: 1024" in end.log


def test_adaptive_cluster_grows_as_far_as_the_quota_goes(managed):
    Queue(managed, "team", pods=3)
    install(managed, UP_AND_DOWN, workers=(1, 4))
    before = managed.objects()

    end = managed.finish(managed.start(), seconds=180)

    assert "result of main: 1 to 2 to 1 workers, total 780 in 40 runs" in end.log
    nothing_is_left(managed, before, "run")


def test_preempted_worker_is_told_by_kueues_reason_and_comes_back(managed):
    Queue(managed, "team", pods=3)
    install(managed, ANOTHER, workers=(2, 2), allowedFailures=0)
    before = managed.objects()
    managed.start()
    managed.wait_for_log("two workers are there")

    urgent(managed, 1)
    waits(managed, 1, admitted=1)
    managed.kubectl("delete", "pod", "urgent")
    end = managed.finish()

    reason = r"pod .*-worker-\d is taken away: WorkloadEvictedDueToPreempted: Preempted to accommodate a workload .*"
    assert re.search(f"{reason}; it is replaced", end.log), end.log
    assert (end.condition, "result of main: 1024" in end.log) == ("Complete", True)
    nothing_is_left(managed, before, "run")


def test_run_that_is_preempted_as_a_whole_starts_again_when_there_is_room(managed):
    Queue(managed, "team", pods=2)
    install(managed, SLOW.replace("600", "10"))
    before = managed.objects()
    managed.start()
    managed.running_worker()

    urgent(managed, 2)
    managed.wait_for(lambda: not managed.runners() and not managed.workers(), "the end of runner and worker")
    suspended = managed.get("job", "run")["spec"]["suspend"]
    managed.kubectl("delete", "pod", "urgent")
    end = managed.finish()

    assert (suspended, end.condition, "result of main: slept" in end.log) == (True, "Complete", True)
    nothing_is_left(managed, before, "run")


def test_schedulers_pod_is_admitted_before_workers(managed):
    queue = Queue(managed, "team", pods=1)
    install(managed, ONE, workers=(3, 3), scheduler="pod", schedulerSpec=SCHEDULER)
    managed.start()
    waits(managed, 4)

    queue.resize(2)
    admitted = managed.wait_for(lambda: set(workloads(managed, admitted=True)) - {"run"}, "the first admission")
    queue.resize(3)
    end = managed.finish()

    assert [name.rpartition("-")[2] for name in admitted] == ["scheduler"]
    assert "result of main: 1024" in end.log


def test_ten_runs_wait_for_each_other_but_not_if_workers_have_a_queue_of_their_own(managed):
    Queue(managed, "team", pods=2)
    install(managed, ONE)
    before = managed.objects()
    for name in ("run-a", "run-b"):
        managed.start(name)
    for name in ("run-a", "run-b"):
        managed.wait_for_log("waits to be admitted by Kueue to the queue team: ", name)
    waits(managed, 2)
    managed.kubectl("delete", "job", "run-a")
    assert managed.finish("run-b").exit_code == 0

    Queue(managed, "workers", pods=1)
    managed.kubectl("set", "env", "cronjob/r-dask-flow", "DASK_FLOW_QUEUE_NAME=workers")
    names = [managed.start(f"run-{number}") for number in range(10)]
    ends = [managed.finish(name, seconds=300) for name in names]

    assert ["result of main: 1024" in end.log for end in ends] == [True] * 10
    nothing_is_left(managed, before, "run-b", *names)
