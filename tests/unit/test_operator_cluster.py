"""The Dask operator's objects of a run, and what the run hears of the operator's pods."""

import json
import re
import threading
import time
from collections import Counter
from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from dask_flow.clusters import operator_objects
from dask_flow.clusters.deadline import Deadline
from dask_flow.clusters.operator_cluster import OperatorCluster, connected
from dask_flow.clusters.operator_objects import OperatorObjects
from dask_flow.clusters.run_cluster import FORGIVEN_SECONDS
from dask_flow.dask_cluster import dask_autoscaler, dask_cluster, ignored
from dask_flow.errors import InputError, StartupError
from dask_flow.kube_refusals import UnknownKindError
from dask_flow.manifests import RunIdentity, permissions, template_variables
from dask_flow.pod_status import Problem
from dask_flow.settings import resolve
from dask_flow.specs import read_templates
from test_manifests import SEED

IDENTITY = RunIdentity("nightly", "jobs", "nightly-x7k2p", "u-1", "10.0.0.7", "flow:1")
GIVEN = {"target": "", "cluster": "operator"}
WORKER = "nightly-x7k2p-default-worker-0123456789"
WORKER_POD = f"{WORKER}-5c4699957d-6trg4"
SCHEDULER_POD = "nightly-x7k2p-scheduler-5c4699957d-6trg4"


def templates_of(given):
    settings = resolve({**GIVEN, **given}, {}, in_kubernetes=True)
    return read_templates(settings, template_variables(settings, IDENTITY, {})), settings


def made(tmp_path=None, specs=(), identity=IDENTITY, **given):
    for role, spec in dict(specs).items():
        path = tmp_path / f"{role}_spec.yaml"
        path.write_text(json.dumps({"spec": spec}))
        given[f"{role}_spec"] = path
    templates, settings = templates_of(given)
    return dask_cluster(templates, settings, identity)


def container_of(cluster, role="worker"):
    return cluster["spec"][role]["spec"]["containers"][0]


def environment(container):
    return {each["name"]: each.get("value") for each in container["env"]}


def test_cluster_is_the_runs_and_its_pods_can_be_told_by_their_labels():
    cluster = made(min_workers=2, max_workers=4)
    worker, scheduler = cluster["spec"]["worker"], cluster["spec"]["scheduler"]

    assert cluster["metadata"]["name"] == "nightly-x7k2p"
    assert cluster["metadata"]["ownerReferences"][0]["uid"] == "u-1"
    assert cluster["spec"]["idleTimeout"] == 60
    assert worker["replicas"] == 2
    for role, pod in (("worker", worker), ("scheduler", scheduler)):
        assert pod["metadata"]["labels"].items() >= {**IDENTITY.labels, "app.kubernetes.io/component": role}.items()
        assert pod["metadata"].keys() == {"labels", "annotations"}
        assert pod["spec"]["restartPolicy"] == "Always"
    assert scheduler["service"]["selector"]["dask.org/cluster-name"] == "nightly-x7k2p"
    assert [each["name"] for each in scheduler["service"]["ports"]] == ["tcp-comm", "http-dashboard"]


def test_containers_run_todays_commands_with_the_operators_names():
    cluster = made()
    worker, scheduler = container_of(cluster), container_of(cluster, "scheduler")

    assert worker["args"][:2] == ["dask", "worker"]
    assert worker["args"][worker["args"].index("--name") + 1] == "$(DASK_WORKER_NAME)"
    assert environment(worker)["DASK_SCHEDULER_ADDRESS"] == "tcp://nightly-x7k2p-scheduler.jobs:8786"
    assert scheduler["args"][:2] == ["dask", "scheduler"]
    assert "distributed.http.scheduler.api" in environment(scheduler)["DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES"]
    assert "proxy" not in environment(scheduler)["DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES"]
    assert {each["name"]: each["containerPort"] for each in scheduler["ports"]} == {
        "tcp-comm": 8786,
        "http-dashboard": 8787,
    }
    assert scheduler["readinessProbe"]["httpGet"]["port"] == "http-dashboard"
    assert "TLS" not in json.dumps(cluster)


def test_seeds_spec_is_honoured():
    container = container_of(made(worker_spec=SEED))

    assert container["image"] == "gcr.io/dev/dask-k8s-flow:0.1.0"
    assert container["args"][-4:-1] == ["--name", "$(DASK_WORKER_NAME)", "--death-timeout"]
    assert container["resources"]["limits"] == {"cpu": "2", "memory": "4G"}


def test_container_of_dask_comes_first_and_has_args_as_kube_cluster_expects(tmp_path):
    worker = {"name": "worker", "command": ["dask", "worker"]}
    cluster = made(tmp_path, {"worker": {"restartPolicy": "Never", "containers": [{"name": "log"}, worker]}})
    spec = cluster["spec"]["worker"]["spec"]

    assert [each["name"] for each in spec["containers"]] == ["worker", "log"]
    assert spec["containers"][0]["command"][-4:-1] == ["--name", "$(DASK_WORKER_NAME)", "--death-timeout"]
    assert spec["containers"][0]["args"] == []
    assert spec["restartPolicy"] == "Always"


def test_numbers_are_texts_and_names_where_the_operators_definition_wants_such(tmp_path):
    container = {
        "name": "worker",
        "resources": {"limits": {"cpu": 2, "memory": "1Gi"}, "requests": {"cpu": 0.5}},
        "ports": [{"containerPort": 8790}],
        "livenessProbe": {"httpGet": {"path": "/health", "port": 8790}},
        "lifecycle": {"preStop": {"tcpSocket": {"port": 9000}}},
    }
    volumes = [{"name": "data", "emptyDir": {"sizeLimit": 1000}}]
    cluster = made(tmp_path, {"worker": {"containers": [container], "volumes": volumes}})
    worker = container_of(cluster)

    assert worker["resources"] == {"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "0.5"}}
    assert worker["ports"] == [
        {"containerPort": 8790, "name": "port-8790"},
        {"containerPort": 9000, "name": "port-9000"},
    ]
    assert worker["livenessProbe"]["httpGet"]["port"] == "port-8790"
    assert worker["lifecycle"]["preStop"]["tcpSocket"]["port"] == "port-9000"
    assert cluster["spec"]["worker"]["spec"]["volumes"][0]["emptyDir"]["sizeLimit"] == "1000"


def test_what_a_deployments_pods_cannot_have_is_left_out_and_said(tmp_path):
    spec = {"activeDeadlineSeconds": 60, "containers": [{"name": "worker"}]}
    path = tmp_path / "worker_spec.yaml"
    path.write_text(json.dumps({"spec": spec}))
    templates, settings = templates_of({"worker_spec": path})

    assert "activeDeadlineSeconds" not in json.dumps(dask_cluster(templates, settings, IDENTITY))
    assert [text.partition(" has")[0] for text in ignored(templates)] == ["the worker spec's activeDeadlineSeconds"]


@pytest.mark.parametrize(
    ("pod", "name"),
    [("nightly.v1-x7k2p", "nightly-v1-x7k2p"), ("2026-x7k2p", "r-2026-x7k2p"), ("n" * 52 + "-x7k2p", None)],
)
def test_clusters_name_is_one_that_the_operator_and_a_service_take(pod, name):
    identity = RunIdentity("nightly", "jobs", pod, "u1234567-0", "10.0.0.7", "flow:1")

    assert name in (None, identity.cluster_name)
    # dask-kubernetes' VALID_CLUSTER_NAME, and a Service's name begins with a letter
    assert re.fullmatch(r"(?=.{,53}$)[a-z]([-a-z0-9]*[a-z0-9])?", identity.cluster_name)


def test_pods_of_several_workers_cannot_be_scaled(tmp_path):
    spec = {"worker": {"containers": [{"name": "worker", "args": ["dask", "worker", "--nworkers", "2"]}]}}

    assert made(tmp_path, spec, min_workers=2, max_workers=2)["spec"]["worker"]["replicas"] == 2
    with pytest.raises(InputError, match="--nworkers 2 in the worker spec, but the Dask operator scales single"):
        made(tmp_path, spec, min_workers=1, max_workers=2)


def test_autoscaler_has_the_bounds_and_is_deleted_with_the_run():
    autoscaler = dask_autoscaler(templates_of({"min_workers": 1, "max_workers": 4})[1], IDENTITY)

    assert autoscaler["spec"] == {"cluster": "nightly-x7k2p", "minimum": 1, "maximum": 4}
    assert autoscaler["metadata"]["labels"].items() >= IDENTITY.labels.items()
    assert autoscaler["metadata"]["ownerReferences"][0]["uid"] == "u-1"


def test_runner_asks_the_operator_and_makes_no_pods_itself():
    verbs = permissions(templates_of({})[1])

    assert {kind for kind in verbs if "create" in verbs[kind]} == {
        "daskclusters.kubernetes.dask.org",
        "daskautoscalers.kubernetes.dask.org",
    }
    assert "secrets" not in verbs


class FakeKube:
    """Gives the events that it has, keeps what is asked of it, and knows no DaskCluster if it is to."""

    def __init__(self, pods=(), warnings=(), phase=None, known=True):
        self.pods, self.warnings, self.phase, self.known, self.asked = pods, warnings, phase, known, []

    def watch_pods(self, selector, stop):
        yield from self.pods

    def watch_warnings(self, stop, selector):
        yield from self.warnings

    def create(self, kind, body, **options):
        if not self.known:
            raise UnknownKindError(f"POST {kind}: 404 page not found")
        self.asked.append(("create", kind, options))

    def get(self, kind, name):
        return {"metadata": {"name": name}, "status": {"phase": self.phase} if self.phase else {}}

    def delete_all(self, kind, selector, grace, *, owned_first):
        if not self.known:
            raise UnknownKindError(f"DELETE {kind}: 404 page not found")
        self.asked.append(("delete", kind, owned_first))
        return []

    def give_up_in(self, seconds):
        pass


def objects(kube):
    templates, settings = templates_of({})
    found = OperatorObjects(kube, IDENTITY, settings, templates)
    found.on_scheduler = lambda _: None
    return found


def pod(name=WORKER_POD, state=None, restarts=0, last=None):
    container = {"name": "dask", "restartCount": restarts, "state": state or {"running": {}}, "lastState": last or {}}
    variables = [{"name": "DASK_WORKER_NAME", "value": WORKER}]
    return {
        "metadata": {"name": name, "annotations": {"kubectl.kubernetes.io/default-container": "dask"}},
        "spec": {"restartPolicy": "Always", "containers": [{"name": "dask", "env": variables}]},
        "status": {"phase": "Running", "containerStatuses": [container]},
    }


def ended(code, reason="Error"):
    return {"terminated": {"exitCode": code, "reason": reason, "message": "last words"}}


def test_missing_operator_is_said_with_the_command_and_nothing_is_to_be_deleted(caplog):
    made = objects(FakeKube(known=False))

    made.delete_leftovers()
    with pytest.raises(StartupError, match=r"the Dask operator is not installed.*helm install --repo https://helm"):
        made.create_cluster()
    made.delete_all()

    assert caplog.text == ""


def test_cluster_is_made_strictly_and_deleted_with_its_pods_first():
    kube = FakeKube()
    made = objects(kube)

    made.create_cluster()
    made.create_autoscaler()
    made.delete_all()

    clusters, autoscalers = "daskclusters.kubernetes.dask.org", "daskautoscalers.kubernetes.dask.org"
    assert kube.asked == [
        ("create", clusters, {"strict": True}),
        ("create", autoscalers, {}),
        ("delete", clusters, True),
        ("delete", autoscalers, True),
    ]


class Namesake(FakeKube):
    """Has a cluster of the same name for some looks."""

    def __init__(self, looks, **options):
        super().__init__(**options)
        self.looks = looks

    def list_all(self, kind, *, labelSelector):  # noqa: N803 - the API's
        assert labelSelector == IDENTITY.selector
        if not self.known:
            raise UnknownKindError(f"GET {kind}: 404 page not found")
        self.looks -= 1
        return [{"metadata": {"name": IDENTITY.cluster_name}}] if self.looks >= 0 else []


def test_cluster_of_an_earlier_pod_of_the_same_name_is_deleted_and_waited_for(monkeypatch):
    monkeypatch.setattr(operator_objects, "NAMESAKE_SECONDS", 0.01)
    kube = Namesake(looks=5)

    objects(kube).wait_for_namesake(Deadline(60))

    assert [what for what, *_ in kube.asked] == ["delete", "delete"]
    with pytest.raises(StartupError, match="of an earlier run is still being deleted after 0 s"):
        objects(Namesake(looks=99)).wait_for_namesake(Deadline(0))
    objects(Namesake(looks=0)).wait_for_namesake(Deadline(0))
    objects(Namesake(looks=0, known=False)).wait_for_namesake(Deadline(0))


def test_cluster_that_nobody_takes_up_is_an_error_and_a_pod_is_a_sign():
    with pytest.raises(StartupError, match="no Dask operator took up DaskCluster nightly-x7k2p within 0 s"):
        objects(FakeKube()).wait_until_taken_up(Deadline(0))
    objects(FakeKube(phase="Created")).wait_until_taken_up(Deadline(0))
    made = objects(FakeKube([("ADDED", pod())]))
    made._follow_pods()
    made.wait_until_taken_up(Deadline(0))


def test_each_end_of_a_container_that_is_started_again_is_told_once():
    first = pod(state=ended(137, "OOMKilled"))
    again = pod(restarts=1, last=ended(137, "OOMKilled"))
    twice = pod(restarts=2, last=ended(1))
    made, told = objects(FakeKube([("ADDED", each) for each in (pod(), first, again, again, twice)])), []
    made.on_end(lambda name, found: told.append((name, found.cause)))

    made._follow_pods()

    assert told == [(WORKER_POD, "OOMKilled"), (WORKER_POD, "exit code 1")]
    assert made.worker_of(WORKER_POD) == WORKER


def test_restart_of_the_scheduler_is_its_loss():
    made, told = objects(FakeKube([("ADDED", pod(SCHEDULER_POD, restarts=1, last=ended(137)))])), []
    made.on_scheduler = told.append

    made._follow_pods()

    assert told[0].text == f"pod {SCHEDULER_POD}, container dask: Error, exit code 137\n  last words"


@pytest.mark.parametrize(
    ("involved", "told"),
    [
        (("ReplicaSet", "nightly-x7k2p-scheduler-5c4699957d"), True),
        (("ReplicaSet", "other-scheduler-5c4699957d"), False),
        (("DaskCluster", "nightly-x7k2p"), False),
    ],
)
def test_pods_that_may_not_be_made_are_told_of_the_runs_own(involved, told):
    kind, name = involved
    event = {
        "reason": "FailedCreate",
        "message": "exceeded quota: full",
        "involvedObject": {"kind": kind, "name": name},
    }
    made, seen = objects(FakeKube(warnings=[event | {"type": "Error"}])), []
    made.on_scheduler = seen.append

    made._follow_warnings()

    assert [found.cause for found in seen] == (["refused"] if told else [])
    assert len(made.problems()) == (name.startswith("nightly"))


class Counting(OperatorCluster):
    """An OperatorCluster that hears of pods, without a scheduler."""

    def __init__(self, allowed, pods=()):
        self.objects = objects(FakeKube(pods))
        self.lost = []
        self.first_worker = Future()
        self.last_problem = None
        self._on_lost = lambda error: self.lost.append(str(error))
        self._failures_allowed = allowed
        self._failures = Counter()
        self._asked_for, self._failed = 2, set()
        self._joins, self._joined_at, self.worker_names = 0, {}, {}
        self.scheduler_info = {"workers": {}}

    @property
    def loop(self):
        return SimpleNamespace(add_callback=lambda function, *args: function(*args))

    def __del__(self):
        pass


def test_workers_that_keep_ending_by_one_cause_are_the_end_but_not_those_that_are_let_go():
    cluster, killed = Counting(allowed=1), Problem("OOM", "OOMKilled")

    cluster.pod_ended(WORKER_POD, Problem("retired", "ended", orderly=True))
    cluster.pod_ended(WORKER_POD, Problem("scaled down", "deleted", disruption=True))
    assert not cluster.first_worker.done()
    cluster.pod_ended(WORKER_POD, killed)
    lost_at_first = list(cluster.lost)
    cluster.pod_ended(WORKER_POD, killed)

    assert cluster.last_problem is killed
    assert lost_at_first == []
    assert len(cluster.lost) == 1


@pytest.mark.parametrize("count", [1, 2])
def test_start_fails_at_once_when_all_workers_that_were_asked_for_do(count):
    pods = [("ADDED", pod(f"{WORKER}-{number}", state=ended(1))) for number in range(count)]
    cluster = Counting(allowed=9, pods=pods)
    cluster.objects.on_end(cluster.pod_ended)

    cluster.objects._follow_pods()

    assert cluster.first_worker.done() is (count == 2)


def test_worker_that_joins_again_in_its_pod_has_not_run_for_longer_than_since_then():
    cluster, killed = Counting(allowed=0), Problem("OOM", "OOMKilled")
    cluster.objects._seen("ADDED", pod())
    cluster._joined_at[WORKER] = time.monotonic() - FORGIVEN_SECONDS - 1

    cluster.pod_ended(WORKER_POD, killed)
    lost_at_first = list(cluster.lost)
    cluster._joined({"tcp://w": {"name": WORKER}})
    cluster.pod_ended(WORKER_POD, killed)

    assert lost_at_first == []
    assert len(cluster.lost) == 1


class Scheduler:
    address = "tcp://s.jobs:8786"

    def on_death(self, callback):
        self.die = callback


def test_connection_that_never_comes_is_an_error_that_says_where():
    never = threading.Event()

    with pytest.raises(StartupError, match=r"is ready, but no connection to tcp://s\.jobs:8786 came about within 0\.1"):
        connected(never.wait, Scheduler(), 0.1)
    never.set()


def test_connection_is_given_up_when_the_scheduler_dies():
    scheduler, never = Scheduler(), threading.Event()

    def connect():
        scheduler.die("the Dask scheduler was lost")
        never.wait()

    with pytest.raises(StartupError, match="the Dask scheduler was lost"):
        connected(connect, scheduler, 30)
    never.set()
    assert connected(lambda: 1, Scheduler(), 30) == 1
