import copy
import json
from pathlib import Path

import pytest
from dask_flow.errors import InputError
from dask_flow.manifests import RunIdentity, parse_worker_spec, read_worker_template, worker_pod
from dask_flow.settings import RunSettings

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


def pod(spec=None, settings=SETTINGS, identity=IDENTITY):
    template = (
        parse_worker_spec(spec, Path("worker_spec.yaml")) if spec else read_worker_template(settings, identity, {})
    )
    return worker_pod(template.pod, "nightly-x7k2p-worker-0", "tcp://10.0.0.7:8786", settings, identity)


def env(container):
    return {each["name"]: each.get("value") for each in container["env"]}


def test_default_pod_is_restricted_owned_and_joins_the_scheduler():
    made = pod()
    container = made["spec"]["containers"][0]

    assert made["kind"] == "Pod"
    assert made["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "Pod", "name": "nightly-x7k2p", "uid": "u-1"}
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
    assert env(container)["DASK_SCHEDULER_ADDRESS"] == "tcp://10.0.0.7:8786"


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
    template = parse_worker_spec(SEED.read_text(), SEED)
    made = worker_pod(template.pod, "w-0", "tcp://10.0.0.7:8786", SETTINGS, IDENTITY)
    container = made["spec"]["containers"][0]

    assert template.replicas == 2
    assert len(template.warnings) == 3
    assert "replicas" not in made["spec"]
    assert made["metadata"]["labels"]["foo"] == "bar"
    assert container["image"] == "gcr.io/dev/dask-k8s-flow:0.1.0"
    assert container["args"] == [
        *("dask", "worker", "--nthreads", "2", "--no-dashboard", "--memory-limit", "4GB"),
        *("--name", "w-0", "--death-timeout", "60"),
    ]
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
              command: [dask, worker, --name=own, --death-timeout, "5"]
              env: [{name: BUCKET, value: other}]
        """
    )
    sidecar, worker = made["spec"]["containers"]

    assert made["spec"]["securityContext"]["runAsNonRoot"] is False
    assert made["spec"]["imagePullSecrets"] == [{"name": "mine"}]
    assert sidecar["image"] == "log"
    assert "env" not in sidecar
    assert worker["command"] == ["dask", "worker", "--name=own", "--death-timeout", "5"]
    assert env(worker)["BUCKET"] == "other"


def test_pods_do_not_share_state():
    template = parse_worker_spec(SEED.read_text(), SEED)
    before = copy.deepcopy(template.pod)

    worker_pod(template.pod, "w-0", "tcp://10.0.0.7:8786", SETTINGS, IDENTITY)

    assert template.pod == before


def test_long_names_stay_within_a_host_names_63_characters_and_differ_by_attempt():
    runner = copy.deepcopy(RUNNER)
    runner["metadata"] |= {"name": "n" * 57 + "-x7k2p", "uid": "0123456789"}
    runner["metadata"]["labels"] = {"batch.kubernetes.io/job-name": "n" * 57}

    prefix = RunIdentity.of_pod(runner).worker_prefix

    assert len(f"{prefix}-9999") <= 63
    assert "01234567" in prefix


def test_ipv6_address_has_brackets():
    assert RunIdentity.of_pod({**RUNNER, "status": {"podIP": "fd00::7"}}).pod_host == "[fd00::7]"


def test_empty_keys_are_as_good_as_none():
    made = pod("metadata:\nspec: {securityContext: , containers: [{name: w, args: [], env: , command: }]}")

    assert made["spec"]["containers"][0]["args"][:2] == ["dask", "worker"]


@pytest.mark.parametrize(
    ("args", "processes"),
    [(["--nworkers", "3"], 3), (["--nprocs=2"], 2), (["--nworkers", "auto"], 1), (["--nthreads", "4"], 1)],
)
def test_processes_of_a_worker_pod(args, processes):
    spec = {"spec": {"containers": [{"name": "w", "args": ["dask", "worker", *args]}]}}

    assert parse_worker_spec(json.dumps(spec), SEED).processes == processes


def test_spec_is_a_template(tmp_path):
    path = tmp_path / "worker_spec.yaml"
    path.write_text("spec: {containers: [{image: '{{ image }}', env: [{name: A, value: '{{ params.n }} {{ run }}'}]}]}")
    settings = RunSettings(target="f", worker_spec=path, params={"n": 7})

    container = read_worker_template(settings, IDENTITY, {}).pod["spec"]["containers"][0]

    assert container["image"] == "example.org/flow:1"
    assert env(container)["A"] == "7 nightly"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: Deployment\nspec: {}", "kind is 'Deployment'; a worker spec must be a Pod manifest"),
        ("- a\n- b", "a Pod manifest must be a YAML mapping, not list"),
        ("", "a Pod manifest must be a YAML mapping, not NoneType"),
        ("a: b\n c: d: e", r"worker_spec.yaml:2: not YAML"),
        ("spec: {}", "spec.containers must be a list with at least one container"),
        ("spec: {containers: [worker]}", "spec.containers must be a list"),
        ("spec: {replicas: 0, containers: [{}]}", "spec.replicas must be a whole number of at least 1, not 0"),
        ("spec: {containers: [{args: dask worker}]}", "args must be a list of texts"),
        ("a: '{{ nothing }}'", "'nothing' is undefined; variables are image, namespace"),
        ("a: b\nc: '{% if %}'", r"worker_spec.yaml:2: Expected an expression"),
    ],
)
def test_bad_specs_are_one_sentence_with_the_file(tmp_path, text, message):
    path = tmp_path / "worker_spec.yaml"
    path.write_text(text)

    with pytest.raises(InputError, match=message):
        read_worker_template(RunSettings(target="f", worker_spec=path), IDENTITY, {})


def test_unreadable_spec_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"cannot read the worker spec .*none.yaml: No such file"):
        read_worker_template(RunSettings(target="f", worker_spec=tmp_path / "none.yaml"), IDENTITY, {})
