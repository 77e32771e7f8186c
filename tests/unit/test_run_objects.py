"""What the objects of a run report of their pods."""

import threading
from types import SimpleNamespace

import pytest
from dask_flow.clusters.run_objects import RunObjects
from dask_flow.clusters.temporary import attempt_of
from dask_flow.history import History
from dask_flow.kube import ExistsError, Kube
from dask_flow.manifests import RunIdentity
from dask_flow.report import Outcome
from dask_flow.report.document import document
from dask_flow.settings import RunSettings
from dask_flow.specs import PodTemplate, Templates, default_pod

IDENTITY = RunIdentity("nightly", "jobs", "nightly-x", "u-1", "10.0.0.7", "flow:1")


class FakeKube:
    """Gives the events that it has, and keeps what is asked of it."""

    def __init__(self, pods=(), warnings=(), there=()):
        self.pods, self.warnings, self.there, self.asked = pods, warnings, there, []
        self.watches_over = threading.Semaphore(0)

    def watch_pods(self, selector, stop):
        yield from self.pods
        self.watches_over.release()

    def watch_warnings(self, stop):
        yield from self.warnings
        self.watches_over.release()

    def create(self, kind, body):
        self.asked.append(("create", kind, body["metadata"]["name"]))
        if kind in self.there:
            raise ExistsError(f"{kind} already exists")
        return {"spec": {"clusterIP": "10.96.0.9"}}

    def create_pods(self, pods):
        self.asked += [("create", "pods", pod["metadata"]["name"]) for pod in pods]
        return {}

    def delete_all(self, kind, selector, grace):
        self.asked.append(("delete", kind, selector))
        return []

    def delete_pod(self, name):
        self.asked.append(("delete", "pods", name))

    def give_up_in(self, seconds):
        pass


def objects(kube, scheduler="runner"):
    settings = RunSettings(target="f", scheduler=scheduler)
    own = PodTemplate(default_pod("scheduler"), "scheduler") if scheduler == "pod" else None
    return RunObjects(kube, IDENTITY, settings, Templates(PodTemplate(default_pod("worker")), own))


def pod(name, *conditions):
    return {
        "metadata": {"name": name},
        "status": {"conditions": [{"type": each, "status": value} for each, value in conditions]},
    }


def warning(message):
    involved = {"name": "nightly-x-worker-0"}
    return {"reason": "FailedMount", "message": message, "involvedObject": involved}


def test_report_has_the_minimum_that_the_worker_spec_asks_for(monkeypatch, tmp_path):
    spec = tmp_path / "worker_spec.yaml"
    spec.write_text("spec: {replicas: 3, containers: [{name: worker, image: x}]}")
    own = {"metadata": {"name": "a", "namespace": "jobs", "uid": "u"}, "status": {"podIP": "10.0.0.7"}}
    kube = SimpleNamespace(own_pod=lambda: {**own, "spec": {"containers": [{"name": "runner", "image": "flow:1"}]}})
    monkeypatch.setattr(Kube, "in_cluster", lambda: kube)
    history = History()
    history.settings = RunSettings(target="f", worker_spec=spec)

    attempt_of(RunObjects, history.settings, history)

    shown = document(Outcome(0, ""), history, [], {}, history.began)["settings"]
    assert (shown["min_workers"], shown["max_workers"]) == (3, 3)


def test_secret_and_service_are_there_before_the_pods_and_all_kinds_are_deleted():
    kube = FakeKube()
    made = objects(kube, scheduler="pod")

    made.create_shared()
    made.create_workers("nightly-x-worker-0")
    made.create_workers("nightly-x-worker-0")
    made.delete_all()
    made.create_workers("nightly-x-worker-1")

    assert made.scheduler_address == "tls://10.96.0.9:8786"
    assert kube.asked == [
        ("create", "secrets", "nightly-x-tls"),
        ("create", "services", "nightly-x-scheduler"),
        ("create", "pods", "nightly-x-scheduler"),
        ("create", "pods", "nightly-x-worker-0"),
        *(("delete", kind, IDENTITY.selector) for kind in ("pods", "secrets", "services")),
    ]


def test_request_that_is_repeated_finds_what_the_first_one_made():
    made = objects(FakeKube(there=("secrets", "services")), scheduler="pod")

    made.create_shared()

    assert made.scheduler_address == "tls://nightly-x-scheduler.jobs:8786"


def test_scheduler_that_was_not_schedulable_is_ready_when_it_is():
    waiting = pod("nightly-x-scheduler", ("PodScheduled", "False"))
    ready = pod("nightly-x-scheduler", ("PodScheduled", "True"), ("Ready", "True"))
    made, seen = objects(FakeKube([("ADDED", waiting), ("MODIFIED", ready)]), "pod"), []
    made.on_scheduler = seen.append

    made._follow_pods()

    assert seen == [None]
    assert made.problems() == []


@pytest.mark.parametrize(
    ("message", "ends"),
    [
        ('MountVolume.SetUp failed for volume "v" : secret "keys" not found', True),
        ('MountVolume.SetUp failed for volume "dask-flow-tls" : secret "nightly-x-tls" not found', False),
    ],
)
def test_missing_secret_is_the_end_unless_it_is_the_runs_own(message, ends):
    made, seen = objects(FakeKube(warnings=[warning(message)])), []
    made.create_workers("nightly-x-worker-0")

    made._follow_warnings()
    made.on_end(lambda name, _: seen.append(name))

    assert seen == (["nightly-x-worker-0"] if ends else [])
    assert len(made.problems()) == 1


def test_what_pods_wait_for_is_logged_once_for_all_of_them(caplog):
    def waiting(name):
        made = pod(name, ("PodScheduled", "False"))
        made["status"]["conditions"][0]["message"] = "0/1 nodes are available"
        return made

    made = objects(FakeKube([("ADDED", waiting(f"nightly-x-worker-{n}")) for n in (0, 1, 0, 2)]))

    with caplog.at_level("INFO", "dask_flow"):
        made._follow_pods()

    assert caplog.messages == ["waiting: pod nightly-x-worker-0 is not scheduled: 0/1 nodes are available"]
    assert len(made.problems()) == 3


def gated(name, *gates):
    made = pod(name, ("PodScheduled", "False"))
    made["metadata"]["labels"] = {"kueue.x-k8s.io/queue-name": "team"}
    return {**made, "spec": {"schedulingGates": [{"name": gate} for gate in gates]}}


def pending(name, message):
    """Return Kueue's Event about the Workload of a pod."""
    involved = {"kind": "Workload", "name": f"pod-{name}-0a1b2"}
    return {"reason": "Pending", "message": message, "involvedObject": involved}


def followed(*pods, warnings=()):
    """Return the objects of a run with one worker when they have been told all of these."""
    kube = FakeKube(pods, warnings)
    made = objects(kube, "pod")
    made.on_scheduler = lambda _: None
    made.create_workers("nightly-x-worker-0")
    made.follow()
    for _ in ("pods", "warnings"):
        assert kube.watches_over.acquire(timeout=20)
    return made


def test_what_a_queue_lacks_for_a_pod_is_told_by_name(caplog):
    worker, lack = "nightly-x-worker-0", "insufficient unused quota for cpu in flavor default, 500m more needed"
    warnings = [pending(worker, lack), pending("others-worker-0", "another lack")]

    with caplog.at_level("INFO", "dask_flow"):
        made = followed(("ADDED", gated(worker, "kueue.x-k8s.io/admission")), warnings=warnings)

    text = f"pod {worker} waits to be admitted by Kueue to the queue team: {lack}"
    assert made.problems() == [text]
    assert caplog.messages[-1] == f"waiting: {text}"


def test_what_a_queue_lacked_is_forgotten_when_the_pod_is_admitted():
    worker = "nightly-x-worker-0"
    pods = [("ADDED", gated(worker, "g")), ("MODIFIED", gated(worker))]

    made = followed(*pods, warnings=[pending(worker, "no quota")])

    assert [text for text in made.problems() if "quota" in text] == []


@pytest.mark.parametrize(
    ("pods", "workers_wait", "scheduler_waits"),
    [
        ([], False, False),
        ([gated("nightly-x-worker-0", "g")], True, False),
        ([gated("nightly-x-worker-0", "g"), pod("nightly-x-worker-1")], False, False),
        ([gated("nightly-x-worker-0", "g"), pod("nightly-x-scheduler")], True, False),
        ([pod("nightly-x-worker-0"), gated("nightly-x-scheduler", "g")], False, True),
    ],
)
def test_pods_await_admission_if_all_are_behind_a_gate(pods, workers_wait, scheduler_waits):
    made = followed(*(("ADDED", each) for each in pods))

    assert made.await_admission("worker") == workers_wait
    assert made.await_admission("scheduler") == scheduler_waits


@pytest.mark.parametrize("then", ["MODIFIED", "DELETED"])
def test_pod_that_is_admitted_or_gone_awaits_nothing(then):
    name = "nightly-x-worker-0"

    made = followed(("ADDED", gated(name, "g")), (then, gated(name)))

    assert not made.await_admission("worker")


@pytest.mark.parametrize("by", ["the run", "others"])
def test_pods_that_are_gone_keep_nothing_from_running(by):
    deleted, waiting = pod("nightly-x-worker-0"), pod("nightly-x-worker-1", ("PodScheduled", "False"))
    deleted["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    made = objects(FakeKube([("MODIFIED", deleted), ("DELETED", deleted)][: 1 if by == "the run" else 2]))
    made._kube.pods.append(("ADDED", waiting))

    if by == "the run":
        made.delete_worker("nightly-x-worker-0")
    made._follow_pods()

    assert made.problems() == ["pod nightly-x-worker-1 is not scheduled: "]
    assert made.ails("nightly-x-worker-0")


def test_volume_that_a_pod_has_mounted_since_is_no_problem():
    begun = pod("nightly-x-worker-0") | {"spec": {}}
    begun["status"]["containerStatuses"] = [{"name": "worker", "state": {"running": {}}}]
    made, ended = objects(FakeKube([("ADDED", begun)], [warning('secret "keys" not found')])), []
    made.create_workers("nightly-x-worker-0")
    made.on_end(lambda name, _: ended.append(name))

    made._follow_pods()
    made._follow_warnings()

    assert (ended, made.problems()) == ([], [])


def test_watch_goes_on_after_an_error_in_a_callback(caplog):
    def fails(name, _):
        ended.append(name)
        raise ZeroDivisionError

    failed = [pod(f"nightly-x-worker-{number}") | {"spec": {}} for number in range(2)]
    for each in failed:
        each["status"]["phase"] = "Failed"
    warnings = [{"reason": "FailedMount"}, warning('secret "keys" not found')]
    made, ended = objects(FakeKube([("ADDED", each) for each in failed], warnings)), []
    made.create_workers("nightly-x-worker-0")
    made.on_end(fails)

    made._follow_pods()
    made._follow_warnings()

    assert ended == ["nightly-x-worker-0", "nightly-x-worker-1", "nightly-x-worker-0"]
    assert caplog.messages.count("what the watch says of a pod could not be handled") == 2
    assert caplog.messages.count("a warning of a pod could not be handled") == 2


def test_watch_ends_with_the_run():
    made = objects(FakeKube([("ADDED", pod("nightly-x-worker-0", ("PodScheduled", "False")))]))
    made.delete_all()

    made._follow_pods()

    assert made.problems() == []
    assert isinstance(made._stop_watch, threading.Event)
    assert made._stop_watch.is_set()
