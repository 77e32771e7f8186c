import copy
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from dask_flow import cli, log
from dask_flow.clusters.versions import mismatches
from dask_flow.validate import cluster_problems, plan
from test_pod_check import BROKEN

SEED = Path(__file__).parent / "worker_spec.yaml"
FLOW = "from dask_flow import Flow, task\nwith Flow('sums') as flow:\n    task(sum)([1, 2])\n"


@pytest.fixture
def validate(monkeypatch, tmp_path):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setattr(log, "configure", str)  # the log of the tests stays as it is

    def call(*arguments):
        return CliRunner().invoke(cli.cli, ["validate", *map(str, arguments)])

    return call


def test_at_least_forty_broken_specs_are_known():
    assert len(BROKEN) >= 40


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: f"{broken[2]}-{broken[1]}")
def test_broken_spec_is_exit_code_2_with_file_line_and_key(validate, tmp_path, broken):
    text, line, key, _ = broken
    path = tmp_path / "worker_spec.yaml"
    path.write_text(text)

    done = validate("--worker-spec", path)

    assert done.exit_code == 2
    assert f"{path}:{line}: {key} " in done.stderr
    assert "Traceback" not in done.output
    assert done.stdout == ""


def test_pods_are_printed_as_manifests_and_the_plan_as_a_sentence(tmp_path):
    spec = tmp_path / "scheduler_spec.yaml"
    spec.write_text("spec: {nodeSelector: {flow: '{{ flow }}'}}")
    (tmp_path / "flow.py").write_text(FLOW)
    options = ["--scheduler-spec", spec, "--worker-spec", SEED, "--max-workers", "5", "-n", "jobs"]

    done = subprocess.run(
        [sys.executable, "-m", "dask_flow", "validate", tmp_path / "flow.py", *options],
        env={"KUBECONFIG": str(tmp_path / "none")},
        capture_output=True,
        text=True,
        check=False,
    )
    scheduler, worker = yaml.safe_load_all(done.stdout)

    assert done.returncode == 0, done.stderr
    assert scheduler["spec"]["nodeSelector"] == {"flow": "sums"}
    assert worker["metadata"]["namespace"] == "jobs"
    assert worker["spec"]["containers"][0]["image"] == "gcr.io/dev/dask-k8s-flow:0.1.0"
    plan = "worker pods: 2 to 5, as the work needs; scheduler: in a pod of its own; mutual TLS: on"
    assert done.stderr.splitlines()[-1].endswith(plan)
    assert done.stderr.count("warning: ") == 3
    assert "checked without a cluster" in done.stderr


def test_cluster_that_is_named_and_cannot_be_asked_is_an_error(validate, tmp_path):
    (tmp_path / "spec.yaml").write_text("spec: {containers: [{name: worker}]}\n")
    (tmp_path / "kubeconfig").write_text("{}\n")

    done = validate("--worker-spec", tmp_path / "spec.yaml", "--kubeconfig", tmp_path / "kubeconfig")

    assert done.exit_code == 3
    assert "has no current context; choose one with --context" in done.stderr
    assert done.stdout == ""


def test_what_the_operator_is_given_is_printed(validate):
    done = validate("--cluster", "operator", "-n", "jobs")

    assert done.exit_code == 0, done.output
    (cluster,) = yaml.safe_load_all(done.stdout)
    assert (cluster["kind"], cluster["metadata"]["namespace"]) == ("DaskCluster", "jobs")


class Kube:
    """An API server that takes every pod, with these quotas, and a user who may do all but what is refused.

    `default` are the limits of containers that have none, as a LimitRange may say.
    """

    namespace = "jobs"

    def __init__(self, refused=(), quotas=(), default=None):
        self.refused, self.quotas, self.default = refused, quotas, default

    def create(self, _, body, *, dry_run):
        assert dry_run
        body = copy.deepcopy(body)
        for each in body["spec"]["containers"]:
            each["resources"] = {"limits": self.default} | each.get("resources", {})
        return body

    def may(self, verb, resource):
        return (verb, resource) not in self.refused

    def list_all(self, _):
        return self.quotas


def test_rights_that_a_runner_needs_and_the_user_lacks_are_named():
    kube = Kube(refused={("deletecollection", "pods"), ("create", "secrets")})
    options = {"cluster": None, "target": None, "scheduler_spec": None, "worker_spec": None}

    found = [str(each).partition(";")[0] for each in cluster_problems(plan(options, "jobs"), kube)]

    assert found == [
        "you may not deletecollection pods in namespace jobs",
        "you may not create secrets in namespace jobs",
    ]


@pytest.mark.parametrize(
    ("resource", "hard", "told"),
    [
        ("requests.memory", "8Gi", True),  # a limit alone is a request too
        ("limits.memory", "8Gi", True),
        ("memory", "12Gi", False),
        ("requests.nvidia.com/gpu", "2", True),
        ("requests.nvidia.com/gpu", "3", False),
        ("pods", "3", True),  # for the runner's too
        ("count/pods", "4", False),
        ("limits.cpu", "0", False),
    ],
)
def test_quota_that_has_no_room_for_the_workers_is_named(resource, hard, told, tmp_path):
    limits = {"memory": "4Gi", "nvidia.com/gpu": 1}
    spec = {"spec": {"containers": [{"name": "worker", "resources": {"limits": limits}}]}}
    (tmp_path / "spec.yaml").write_text(json.dumps(spec))
    options = {"cluster": None, "target": None, "scheduler_spec": None, "worker_spec": tmp_path / "spec.yaml"}
    quota = {"metadata": {"name": "small"}, "spec": {}, "status": {"hard": {resource: hard}}}

    planned = plan({**options, "min_workers": 3}, "jobs")

    found = [str(each) for each in cluster_problems(planned, Kube(quotas=[quota]))]

    amount = r"\d+\.\d+ GiB" if "memory" in resource else r"\d+"
    said = rf"quota small leaves {amount} of {re.escape(resource)}, but the run needs {amount} for its 3 workers"
    assert len(found) == told
    assert all(re.fullmatch(said, text) for text in found)


def test_runner_that_is_there_is_not_counted_twice(monkeypatch, tmp_path):
    (tmp_path / "token").touch()
    monkeypatch.setattr("dask_flow.kube.SERVICE_ACCOUNT", tmp_path)
    options = {"cluster": None, "target": None, "scheduler_spec": None, "worker_spec": None, "min_workers": 3}
    quota = {"metadata": {"name": "small"}, "spec": {}, "status": {"hard": {"pods": "4"}, "used": {"pods": "1"}}}

    assert cluster_problems(plan(options, "jobs"), Kube(quotas=[quota])) == []


@pytest.mark.parametrize(
    ("spec", "need"),
    [
        ({}, "1500Mi"),
        ({"initContainers": [{"name": "a", "resources": {"requests": {"memory": "1Gi"}}}]}, "1500Mi"),
        ({"initContainers": [{"name": "a", "resources": {"requests": {"memory": "2Gi"}}}]}, "2Gi"),
        (
            {
                "initContainers": [
                    {"name": "a", "restartPolicy": "Always", "resources": {"requests": {"memory": "1Gi"}}},
                    {"name": "b", "resources": {"limits": {"memory": "1Gi"}}},
                ]
            },
            "2524Mi",
        ),
        ({"overhead": {"memory": "100Mi"}}, "1600Mi"),
        ({"resources": {"requests": {"memory": "4Gi"}}}, "4Gi"),
    ],
    ids=["containers", "small-init", "large-init", "sidecar", "overhead", "of-the-pod"],
)
def test_quota_counts_a_pod_as_kubernetes_does(spec, need, tmp_path):
    requests = {"name": "worker", "resources": {"requests": {"memory": "1Gi"}}}
    (tmp_path / "spec.yaml").write_text(json.dumps({"spec": {"containers": [requests, {"name": "other"}], **spec}}))
    options = {"cluster": None, "target": None, "scheduler_spec": None, "worker_spec": tmp_path / "spec.yaml"}
    quota = {"metadata": {"name": "small"}, "spec": {}, "status": {"hard": {"memory": need}}}
    planned = plan({**options, "min_workers": 1}, "jobs")
    kube = Kube(quotas=[quota], default={"memory": "476Mi"})

    assert cluster_problems(planned, kube) == []

    quota["status"]["used"] = {"memory": "1Mi"}
    (problem,) = cluster_problems(planned, kube)
    assert str(problem).startswith("quota small leaves ")


def test_operators_plan_is_its_cluster_and_nothing_else():
    options = {"cluster": "operator", "target": None, "scheduler_spec": None, "worker_spec": None, "min_workers": 2}

    planned = plan(options, "jobs")
    (cluster,) = planned.manifests

    assert (cluster["kind"], cluster["metadata"]["namespace"]) == ("DaskCluster", "jobs")
    assert cluster["spec"]["worker"]["replicas"] == 2
    assert planned.summary() == "worker pods: 2; scheduler: in a pod of its own; mutual TLS: off"
    assert [pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in planned.pods] == ["scheduler", "worker"]


def test_flow_that_cannot_be_loaded_is_exit_code_2(validate, tmp_path):
    done = validate(tmp_path / "none.py")

    assert (done.exit_code, done.stderr.startswith("no such file")) == (2, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cluster", "static"], "--cluster static makes no pods"),
        (["--address", "tcp://s:8786"], "--address is for --cluster static"),
        (["--address", "http://s:80"], "is not an address"),
        (["--timeout", "nan"], "--timeout must be a number of seconds above 0"),
        (["--adaptive-wait-count", "0"], "--adaptive-wait-count must be at least 1"),
        (["--allowed-failures", "-1"], "--allowed-failures must be at least 0"),
        (["--scheduler-spec", "s.yaml", "--scheduler", "runner"], "leave out one of the two"),
    ],
)
def test_option_that_no_run_can_have_is_exit_code_2(validate, options, message):
    done = validate(*options)

    assert done.exit_code == 2
    assert message in done.stderr


def versions(**packages):
    known = {
        "python": "3.13.5.final.0",
        "dask": "2026.8.0",
        "distributed": "2026.8.0",
        "cloudpickle": "3.1",
        "msgpack": "1.1",
    }
    return {"packages": known | packages}


def test_versions_that_differ_are_rows_of_a_table():
    workers = [versions(msgpack="1.0", python="3.13.9.final.0"), versions(msgpack="1.2"), versions(cloudpickle=None)]

    assert mismatches(versions(), versions(), workers) == [
        ("cloudpickle", "3.1", "3.1", "3.1, none"),
        ("msgpack", "1.1", "1.1", "1.0, 1.1, 1.2"),
    ]
    assert mismatches(versions(), versions(python="3.12.1.final.0"), []) == [("python", "3.13", "3.12", "")]
    assert json.dumps(mismatches(versions(), versions(), [versions()])) == "[]"
