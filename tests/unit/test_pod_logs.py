"""The logs of an attempt's pods: saved when they end, and before they are deleted."""

import json
import threading

import pytest
from dask_flow.clusters.pod_logs import PodLogs
from dask_flow.errors import StartupError
from dask_flow.history import History
from dask_flow.kube_refusals import refusal_of
from dask_flow.pod_status import DEFAULT_CONTAINER
from test_run_objects import FakeKube, objects

RUNNING = {"running": {}}
ENDED = {"terminated": {"exitCode": 7, "reason": "Error"}}


def pod(name, state=RUNNING, restarts=0, **metadata):
    status = {"name": "worker", "state": state, "restartCount": restarts}
    return {
        "metadata": {"name": name, "annotations": {DEFAULT_CONTAINER: "worker"}, **metadata},
        "spec": {"restartPolicy": "Never"},
        "status": {"phase": "Running", "containerStatuses": [{"name": "sidecar"}, status]},
    }


class FakeLogs(FakeKube):
    """Has logs by pod; each is there once."""

    def __init__(self, *args, **logs):
        super().__init__(*args)
        self.logs = logs

    def log(self, name, container, *, previous=False):
        assert container == "worker"
        self.asked.append(("log", name, previous))
        if name not in self.logs:
            raise StartupError(f"pod {name} has no log")
        return f"{self.logs[name]}{' before' * previous}".encode()

    def delete_pod(self, name):
        self.asked.append(("delete", name))


def saved(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_logs_of_all_pods_are_saved_once_and_none_is_missed_for_another(tmp_path):
    kube = FakeLogs(a="one", b="two")
    logs = PodLogs(kube, tmp_path)
    for name in ("a", "b", "without"):
        logs.seen("ADDED", pod(name))
    logs.seen("ADDED", pod("gone"))
    logs.seen("DELETED", pod("gone"))

    logs.save_all()
    logs.save_all()

    assert saved(tmp_path) == {"a.log": "one", "b.log": "two"}
    assert sorted(kube.asked) == [("log", "a", False), ("log", "b", False), ("log", "without", False)]


@pytest.mark.parametrize("change", [{"state": ENDED}, {"deletionTimestamp": "2026-11-25T12:00:00Z"}])
def test_log_of_a_pod_that_ends_is_saved_while_it_is_there(tmp_path, change):
    kube = FakeLogs(a="last words")
    logs = PodLogs(kube, tmp_path)
    logs.seen("ADDED", pod("a"))

    logs.seen("MODIFIED", pod("a", **change))
    logs.seen("MODIFIED", pod("a", **change))
    logs.seen("DELETED", pod("a", **change))
    logs.save_all()

    assert saved(tmp_path) == {"a.log": "last words"}
    assert kube.asked == [("log", "a", False)]


def test_container_that_started_again_has_both_logs(tmp_path):
    logs = PodLogs(FakeLogs(a="words"), tmp_path)

    logs.seen("MODIFIED", pod("a", restarts=1))
    logs.save_all()

    assert saved(tmp_path) == {"a.1.log": "words before", "a.log": "words"}


def test_log_that_cannot_be_had_later_stays_as_it_was(tmp_path):
    kube = FakeLogs(a="words")
    logs = PodLogs(kube, tmp_path)
    logs.seen("ADDED", pod("a"))

    logs.save("a")
    kube.logs = {"a": ""}
    logs.save_all()

    assert saved(tmp_path) == {"a.log": "words"}


def test_lack_of_rights_is_said_once_with_what_grants_them(tmp_path, caplog):
    class Refused(FakeLogs):
        def log(self, name, container, *, previous=False):
            message = 'User "u" cannot get resource "pods/log" in API group "" in the namespace "jobs"'
            raise refusal_of(f"GET pods/{name}/log", 403, json.dumps({"message": message}).encode())

    logs = PodLogs(Refused(), tmp_path)
    for number in range(3):
        logs.seen("ADDED", pod(f"w-{number}"))
    logs.save_all()

    (said,) = caplog.messages
    assert said.startswith("the logs of pods are not in the report: u may not get pods/log in namespace jobs")
    assert said.endswith("(chart: rbac.create=true, report)")


def test_pod_that_is_slow_to_answer_holds_up_nothing_for_long(tmp_path, monkeypatch, caplog):
    answer = threading.Event()

    class Slow(FakeLogs):
        def log(self, name, container, *, previous=False):
            answer.wait()
            return b""

    monkeypatch.setattr("dask_flow.clusters.pod_logs.SAVE_SECONDS", 0.01)
    logs = PodLogs(Slow(), tmp_path)
    logs.seen("ADDED", pod("a"))

    logs.save_all()
    answer.set()

    assert "1 logs of pods are not in the report" in caplog.text


def test_worker_that_is_let_go_has_its_log_and_the_reason(tmp_path):
    kube = FakeLogs([("ADDED", pod("nightly-x-worker-0"))], **{"nightly-x-worker-0": "words"})
    made, history = objects(kube), History()
    history.logs = tmp_path
    made.note_in(history)
    made.create_workers("nightly-x-worker-0")
    made._follow_pods()

    made.delete_worker("nightly-x-worker-0")
    made._seen("DELETED", pod("nightly-x-worker-0"))
    history.save_logs()

    assert kube.asked[-2:] == [("log", "nightly-x-worker-0", False), ("delete", "nightly-x-worker-0")]
    assert saved(tmp_path) == {"nightly-x-worker-0.log": "words"}
    assert [each.text for each in history.pods["nightly-x-worker-0"].ends] == ["let go: there was no work for it"]


def test_logs_are_saved_before_the_pods_are_deleted(tmp_path):
    kube = FakeLogs([("ADDED", pod("nightly-x-worker-0"))], **{"nightly-x-worker-0": "words"})
    made, history = objects(kube), History()
    history.logs = tmp_path
    made.note_in(history)
    made._follow_pods()

    made.delete_all()

    assert [each[0] for each in kube.asked] == ["log", "delete", "delete"]
