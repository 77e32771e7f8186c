import base64
import copy
import json
from pathlib import Path

import pytest
from dask_flow.manifests import (
    RunIdentity,
    address_at,
    dask_configuration,
    dask_pod,
    permissions,
    scheduler_service,
    template_variables,
    tls_secret,
)
from dask_flow.settings import RunSettings
from dask_flow.specs import parse_spec, read_templates
from dask_flow.tls import KeyPair

SETTINGS = RunSettings(target="flow.py")
SEED = Path(__file__).parent / "worker_spec.yaml"
RUNNER = {
    "metadata": {
        "name": "nightly-x7k2p",
        "namespace": "jobs",
        "uid": "u-1",
        "labels": {"batch.kubernetes.io/job-name": "nightly"},
    },
    "spec": {
        "containers": [
            {
                "name": "runner",
                "image": "example.org/flow:1",
                "env": [{"name": "DASK_FLOW_CLUSTER", "value": "pods"}, {"name": "BUCKET", "value": "b"}],
                "envFrom": [{"secretRef": {"name": "keys"}}],
            }
        ],
        "imagePullSecrets": [{"name": "registry"}],
    },
    "status": {"podIP": "10.0.0.7"},
}
IDENTITY = RunIdentity.of_pod(RUNNER)


def pod(spec=None, settings=SETTINGS, identity=IDENTITY, role="worker"):
    templates = read_templates(settings, template_variables(settings, identity, {}))
    template = parse_spec(spec, Path(f"{role}_spec.yaml"), role) if spec else getattr(templates, role)
    address = "tls://10.0.0.7:8786" if role == "worker" else None
    return dask_pod(template, f"nightly-x7k2p-{role}-0", settings, identity, address)


def env(container):
    return {each["name"]: each.get("value") for each in container["env"]}


def test_default_pod_is_restricted_owned_and_joins_the_scheduler():
    made = pod()
    container = made["spec"]["containers"][0]

    assert made["kind"] == "Pod"
    assert made["metadata"]["ownerReferences"] == [
        # Without a controller, `kubectl drain` refuses the node.
        {"apiVersion": "v1", "kind": "Pod", "name": "nightly-x7k2p", "uid": "u-1", "controller": True}
    ]
    assert made["metadata"]["labels"]["dask-flow/run"] == "nightly"
    assert made["spec"]["automountServiceAccountToken"] is False
    assert made["spec"]["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert container["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert container["args"][:2] == ["dask", "worker"]
    assert container["args"][-4:] == ["--name", "nightly-x7k2p-worker-0", "--death-timeout", "60"]
    assert env(container)["DASK_SCHEDULER_ADDRESS"] == "tls://10.0.0.7:8786"


def test_worker_shares_the_runners_release_queue_and_priority_unless_its_spec_says_otherwise():
    runner = copy.deepcopy(RUNNER)
    shared = {"dask-flow/release": "nightly", "kueue.x-k8s.io/queue-name": "team"}
    runner["metadata"]["labels"] |= {**shared, "app.kubernetes.io/component": "runner", "controller-uid": "j-1"}
    runner["spec"]["priorityClassName"] = "batch"
    identity = RunIdentity.of_pod(runner)
    own = "labels: {kueue.x-k8s.io/queue-name: mine}"
    spec = f"{{metadata: {{{own}}}, spec: {{priorityClassName: low, containers: [{{name: w}}]}}}}"
    plain, given = pod(identity=identity), pod(spec, identity=identity)

    assert shared.items() <= plain["metadata"]["labels"].items()
    assert (plain["metadata"]["labels"]["app.kubernetes.io/component"], plain["spec"]["priorityClassName"]) == (
        "worker",
        "batch",
    )
    assert "controller-uid" not in plain["metadata"]["labels"]
    assert given["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "mine"
    assert given["spec"]["priorityClassName"] == "low"


KUEUE = {"kueue.x-k8s.io/managed": "true", "kueue.x-k8s.io/pod-suspending-parent": "dask-flow"}


def of_kueue(made):
    """Return the labels and annotations by which Kueue counts a pod."""
    metadata = {**made["metadata"]["labels"], **made["metadata"]["annotations"]}
    return {name: value for name, value in metadata.items() if "kueue" in name}


@pytest.mark.parametrize(
    ("of_runner", "of_run", "of_spec", "queue"),
    [
        ("team", None, None, "team"),
        ("team", "workers", None, "workers"),
        (None, "workers", None, "workers"),
        (None, None, "own", "own"),
        ("team", "workers", "own", "own"),
        (None, None, None, None),
    ],
)
@pytest.mark.parametrize("role", ["worker", "scheduler"])
def test_kueue_counts_a_pod_of_a_run_if_it_has_a_queue(role, of_runner, of_run, of_spec, queue):
    runner = copy.deepcopy(RUNNER)
    runner["metadata"]["labels"] |= {"kueue.x-k8s.io/queue-name": of_runner} if of_runner else {}
    label = f"metadata: {{labels: {{kueue.x-k8s.io/queue-name: {of_spec}}}}}\nspec: {{containers: [{{name: {role}}}]}}"
    settings = RunSettings(target="f", queue_name=of_run, scheduler="pod")
    made = pod(label if of_spec else None, settings, RunIdentity.of_pod(runner), role)

    # The label without the annotation has Kueue delete the pod; both without a queue, or the annotation alone, has it
    # wait for ever.
    assert of_kueue(made) == ({**KUEUE, "kueue.x-k8s.io/queue-name": queue} if queue else {})


def test_scheduler_comes_before_workers_by_the_priority_that_its_spec_names():
    spec = "metadata: {labels: {kueue.x-k8s.io/priority-class: first}}\nspec: {containers: [{name: scheduler}]}"

    assert pod(spec, role="scheduler")["metadata"]["labels"]["kueue.x-k8s.io/priority-class"] == "first"


def test_worker_has_the_runners_image_secrets_and_environment_but_not_its_settings():
    made = pod()
    container = made["spec"]["containers"][0]

    assert container["image"] == "example.org/flow:1"
    assert made["spec"]["imagePullSecrets"] == [{"name": "registry"}]
    assert env(container)["BUCKET"] == "b"
    assert "DASK_FLOW_CLUSTER" not in env(container)
    assert container["envFrom"] == [{"secretRef": {"name": "keys"}}]


def test_settings_name_another_image_and_secret():
    made = pod(settings=RunSettings(target="f", image="other:2", image_pull_secrets=("a", "b")))

    assert made["spec"]["containers"][0]["image"] == "other:2"
    assert made["spec"]["imagePullSecrets"] == [{"name": "a"}, {"name": "b"}]


def test_seeds_spec_keeps_what_it_says_and_gets_what_it_lacks():
    made = pod(SEED.read_text())
    container = made["spec"]["containers"][0]

    assert made["metadata"]["labels"]["foo"] == "bar"
    assert made["metadata"]["annotations"] == {"kubectl.kubernetes.io/default-container": "dask-worker"}
    assert container["image"] == "gcr.io/dev/dask-k8s-flow:0.1.0"
    assert container["args"][-4:] == ["--name", "nightly-x7k2p-worker-0", "--death-timeout", "60"]
    assert env(container)["EXTRA_PIP_PACKAGES"] == "fastparquet git+https://github.com/dask/distributed"
    assert container["resources"]["limits"] == {"cpu": "2", "memory": "4G"}


def test_spec_wins_over_what_would_be_filled_in():
    made = pod(
        """
        spec:
          securityContext: {runAsNonRoot: false}
          imagePullSecrets: [{name: mine}]
          containers:
            - {name: sidecar, image: log}
            - name: worker
              command: [dask, worker, --death-timeout, "5"]
              env: [{name: BUCKET, value: other}]
        """
    )
    sidecar, worker = made["spec"]["containers"]

    assert made["spec"]["securityContext"]["runAsNonRoot"] is False
    assert made["spec"]["imagePullSecrets"] == [{"name": "mine"}]
    assert sidecar["image"] == "log"
    assert "env" not in sidecar
    assert worker["command"] == [*("dask", "worker", "--death-timeout", "5"), "--name", "nightly-x7k2p-worker-0"]
    assert env(worker)["BUCKET"] == "other"


def test_last_words_of_any_container_are_in_the_pods_status():
    made = pod(
        """
        spec:
          initContainers: [{name: fetch}]
          containers: [{name: worker}, {name: log, terminationMessagePolicy: File}]
        """
    )
    (fetch,) = made["spec"]["initContainers"]
    policies = [each["terminationMessagePolicy"] for each in [fetch, *made["spec"]["containers"]]]

    assert policies == ["FallbackToLogsOnError", "FallbackToLogsOnError", "File"]


def test_pods_do_not_share_state():
    template = parse_spec(SEED.read_text(), SEED)
    before = copy.deepcopy(template.pod)

    dask_pod(template, "w-0", SETTINGS, IDENTITY, "tls://10.0.0.7:8786")

    assert template.pod == before


def test_long_names_stay_within_a_host_names_63_characters_and_differ_by_attempt():
    runner = copy.deepcopy(RUNNER)
    runner["metadata"] |= {"name": "n" * 57 + "-x7k2p", "uid": "0123456789"}
    runner["metadata"]["labels"] = {"batch.kubernetes.io/job-name": "n" * 57}

    prefix = f"{RunIdentity.of_pod(runner).prefix}-worker"

    assert len(f"{prefix}-9999") <= 63
    assert "01234567" in prefix


def test_labels_of_long_names_stay_within_63_characters_and_differ():
    runner = copy.deepcopy(RUNNER)
    both = []
    for end in ("a", "b"):
        runner["metadata"] = {"name": "n" * 80 + f".{end}", "namespace": "jobs", "uid": "u-1"}
        both.append(RunIdentity.of_pod(runner).labels)

    assert all(len(value) == 63 for labels in both for value in labels.values())
    assert both[0] != both[1]


def test_address_says_whether_it_is_tls_and_puts_ipv6_in_brackets():
    assert address_at("fd00::7", SETTINGS) == "tls://[fd00::7]:8786"
    assert address_at("10.0.0.7", RunSettings(target="f", tls=False)) == "tcp://10.0.0.7:8786"


def test_empty_keys_are_as_good_as_none():
    made = pod("metadata:\nspec: {securityContext: , containers: [{name: w, args: [], env: , command: }]}")

    assert made["spec"]["containers"][0]["args"][:2] == ["dask", "worker"]


def test_lists_are_merged_by_name_and_sidecars_stay():
    made = pod(
        """
        spec:
          volumes: [{name: dask-flow-tls, emptyDir: {}}, {name: data, emptyDir: {}}]
          initContainers: [{name: fetch, image: curl}]
          containers:
            - {name: proxy, image: envoy}
            - name: worker
              env: [{name: DASK_SCHEDULER_ADDRESS, value: elsewhere}, {name: BUCKET, value: other}]
              volumeMounts: [{name: data, mountPath: /data}]
        """
    )
    volumes = {volume["name"]: volume for volume in made["spec"]["volumes"]}
    proxy, worker = made["spec"]["containers"]

    assert volumes.keys() == {"data", "dask-flow-tls"}
    assert volumes["dask-flow-tls"]["secret"] == {"secretName": "nightly-x7k2p-tls"}
    assert [each["name"] for each in made["spec"]["initContainers"]] == ["fetch"]
    assert "volumeMounts" not in proxy
    assert [mount["mountPath"] for mount in worker["volumeMounts"]] == ["/data", "/etc/dask-flow/tls"]
    assert env(worker)["BUCKET"] == "other"
    assert env(worker)["DASK_SCHEDULER_ADDRESS"] == "tls://10.0.0.7:8786"
    assert made["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"] == "worker"


def test_scheduler_pod_listens_by_tls_says_when_it_is_ready_and_serves_no_proxy():
    settings = RunSettings(target="f", scheduler="pod", work_stealing=False)
    made = pod(settings=settings, role="scheduler")
    container = made["spec"]["containers"][0]
    service = scheduler_service(IDENTITY)

    assert container["args"] == [
        *("dask", "scheduler", "--port", "8786", "--dashboard-address", ":8787", "--protocol", "tls"),
    ]
    assert container["readinessProbe"]["httpGet"] == {"path": "/health", "port": 8787}
    assert "proxy" not in env(container)["DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES"]
    assert env(container)["DASK_DISTRIBUTED__SCHEDULER__WORK_STEALING"] == "False"
    assert service["spec"]["selector"].items() <= made["metadata"]["labels"].items()


@pytest.mark.parametrize(
    ("given", "timeout"),
    [
        ({"scheduler": "pod"}, "360 s"),
        ({"scheduler": "runner"}, None),
        ({"scheduler": "pod", "cluster": "operator"}, None),
    ],
)
def test_only_a_scheduler_that_nobody_looks_after_ends_itself_if_no_runner_comes(given, timeout):
    found = dask_configuration(RunSettings(target="f", **given))

    assert found.get("DASK_DISTRIBUTED__SCHEDULER__IDLE_TIMEOUT") == timeout


def test_without_tls_there_is_no_key_and_no_demand_for_one():
    made = pod(settings=RunSettings(target="f", tls=False))

    assert "dask-flow-tls" not in json.dumps(made)
    assert "REQUIRE_ENCRYPTION" not in json.dumps(made)
    assert "secrets" not in permissions(RunSettings(target="f", tls=False))


@pytest.mark.parametrize("mode", ["pods", "operator"])
def test_logs_may_be_read_only_for_a_report(mode):
    given = {"target": "f", "cluster": mode, "tls": False}

    assert "pods/log" not in permissions(RunSettings(**given))
    assert permissions(RunSettings(**given, report="/reports"))["pods/log"] == ("get",)


def test_secret_holds_the_key_pair_that_no_repr_shows():
    pair = KeyPair.generate()
    secret = tls_secret(pair, IDENTITY)

    assert base64.b64decode(secret["data"]["tls.key"]).decode() == pair.key
    assert "PRIVATE KEY" in pair.key
    assert "PRIVATE KEY" not in repr(pair)
    assert secret["metadata"]["name"] == "nightly-x7k2p-tls"
    assert secret["metadata"]["ownerReferences"][0]["uid"] == "u-1"


@pytest.mark.parametrize(
    ("own", "order"),
    [
        # The runner has BUCKET; a worker's scheduler address comes last.
        ([("HOST", "a"), ("BUCKET", "$(HOST)/b")], ["HOST", "BUCKET"]),
        ([("BUCKET", "c"), ("URL", "s3://$(BUCKET)")], ["BUCKET", "URL"]),
        ([("A", "$(DASK_SCHEDULER_ADDRESS)")], ["DASK_SCHEDULER_ADDRESS", "A"]),
        ([("A", "$(B)"), ("B", "$(C)"), ("C", "d")], ["C", "B", "A"]),
        ([("A", "$(B)"), ("B", "$(A)"), ("PATH", "$(PATH):/opt")], ["B", "A", "PATH"]),
    ],
)
def test_variable_is_behind_those_that_its_value_needs(own, order):
    variables = [{"name": name, "value": value} for name, value in own]
    made = pod(json.dumps({"spec": {"containers": [{"name": "worker", "env": variables}]}}))
    names = [each["name"] for each in made["spec"]["containers"][0]["env"]]

    assert [name for name in names if name in order] == order
    assert len(names) == len(set(names))
