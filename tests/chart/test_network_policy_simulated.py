"""What the chart's NetworkPolicies let through, by a simulator of Kubernetes' rules: cyclonus' `analyze`.

https://github.com/mattfenwick/cyclonus: the node of the tests accepts policies without enforcing them.
"""

import json
import re
import subprocess

import pytest
import yaml
from dask_flow.manifests import RunIdentity, dask_pod
from dask_flow.settings import RunSettings
from dask_flow.specs import PodTemplate, default_pod
from rendering import pod_templates

SCHEDULER, DASHBOARD, WORKERS_DASHBOARD, ANY, HTTPS, DNS = 8786, 8787, 8790, 35555, 443, 53
FLOW = {"files": {"flow.py": "def main(): return 1\n"}}
STATIC = {"enabled": True}
MONITORING = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
API = {"to": [{"ipBlock": {"cidr": "10.96.0.1/32"}}], "ports": [{"port": HTTPS}]}

# Pods that are no release's: namespace, labels.
OTHERS = {
    "stranger": ("ns", {"app": "stranger"}),
    "stranger elsewhere": ("elsewhere", {"app": "stranger"}),
    "prometheus": ("monitoring", {"app": "prometheus"}),
    "impostor elsewhere": ("elsewhere", {"dask-flow/release": "r-dask-flow"}),
}
ADDRESSES = {"internet": "203.0.113.7", "api": "10.96.0.1", "ingress controller's host": "192.0.2.1"}
POD_IP = "10.0.0.7"

# By scenario: the values, and who may connect to whom at which port.
SCENARIOS = {
    "a release's own pods reach each other, and nobody else reaches them": (
        {},
        ("runner", "worker", ANY, True),
        ("worker", "runner", SCHEDULER, True),
        ("worker", "scheduler", SCHEDULER, True),
        ("worker", "worker", ANY, True),
        ("test", "worker", ANY, True),
        ("stranger", "runner", SCHEDULER, False),
        ("stranger", "runner", DASHBOARD, False),
        ("stranger", "scheduler", SCHEDULER, False),
        ("stranger", "scheduler", DASHBOARD, False),
        ("stranger", "worker", ANY, False),
        ("stranger", "worker", WORKERS_DASHBOARD, False),
        ("stranger elsewhere", "runner", SCHEDULER, False),
        ("impostor elsewhere", "runner", SCHEDULER, False),
        ("prometheus", "runner", DASHBOARD, False),
        ("operator", "scheduler", SCHEDULER, False),
        ("ingress controller's host", "scheduler", DASHBOARD, False),
        ("worker of another release", "runner", SCHEDULER, False),
        ("worker of another release", "worker", ANY, False),
        ("worker", "internet", HTTPS, True),
    ),
    "a static scheduler is for its namespace, its dashboard and workers are not": (
        {"static": STATIC},
        ("static worker", "static scheduler", SCHEDULER, True),
        ("static worker", "static worker", ANY, True),
        ("runner", "static scheduler", SCHEDULER, True),
        ("stranger", "static scheduler", SCHEDULER, True),
        ("worker of another release", "static scheduler", SCHEDULER, True),
        ("stranger", "static scheduler", DASHBOARD, False),
        ("stranger", "static worker", ANY, False),
        ("stranger elsewhere", "static scheduler", SCHEDULER, False),
    ),
    "a static scheduler may be for its own release alone": (
        {"static": STATIC, "networkPolicy": {"schedulerFrom": []}},
        ("runner", "static scheduler", SCHEDULER, True),
        ("stranger", "static scheduler", SCHEDULER, False),
    ),
    "dashboards are for whom the values name": (
        {"static": STATIC, "networkPolicy": {"dashboardFrom": MONITORING}},
        ("prometheus", "runner", DASHBOARD, True),
        ("prometheus", "worker", WORKERS_DASHBOARD, True),
        ("prometheus", "static scheduler", DASHBOARD, True),
        ("prometheus", "runner", SCHEDULER, False),
        ("prometheus", "static scheduler", SCHEDULER, False),
        ("stranger", "runner", DASHBOARD, False),
    ),
    "the Dask operator asks the schedulers of its clusters": (
        {"cluster": {"mode": "operator"}},
        ("operator", "scheduler", DASHBOARD, True),
        ("stranger", "scheduler", DASHBOARD, False),
    ),
    "pods connect to their own, to names and to what the values list": (
        {"networkPolicy": {"egress": [API]}},
        ("worker", "runner", SCHEDULER, True),
        ("runner", "api", HTTPS, True),
        ("runner", "internet", DNS, True),
        ("worker", "internet", HTTPS, False),
        ("worker", "stranger", HTTPS, False),
    ),
    "without the policy all is open": (
        {"networkPolicy": {"enabled": False}},
        ("stranger", "runner", SCHEDULER, True),
    ),
}


def pods_of(objects):
    """Return the labels, by what they are, of the pods that a release and its runner make."""
    templates = pod_templates(objects)
    found = {each["metadata"]["labels"]["app.kubernetes.io/component"]: each for each in templates}
    runner = found["runner"]
    metadata = {**runner["metadata"], "name": "run", "namespace": "ns", "uid": "u"}
    identity = RunIdentity.of_pod({"metadata": metadata, "spec": runner["spec"]}, POD_IP)
    made = {role: made_by_a_runner(role, identity) for role in ("worker", "scheduler")}
    names = {"worker": "static worker", "scheduler": "static scheduler"}
    return {names.get(role, role): each["metadata"]["labels"] for role, each in found.items()} | made


def made_by_a_runner(role, identity):
    pod = dask_pod(PodTemplate(default_pod(role)), role, RunSettings(target="f"), identity, "tls://10.0.0.1:8786")
    return pod["metadata"]["labels"]


@pytest.fixture(scope="session")
def operator(complete_chart):
    """The labels of the Dask operator's pods, as its chart has them."""
    deployment = complete_chart.only("Deployment", operator={"enabled": True})
    return deployment["spec"]["template"]["metadata"]["labels"]


def peer(name, pods):
    if name in ADDRESSES:
        return {"IP": ADDRESSES[name]}
    namespace, labels = OTHERS.get(name) or ("dask-operator" if name == "operator" else "ns", pods[name])
    known = {"Namespace": namespace, "NamespaceLabels": {"kubernetes.io/metadata.name": namespace}, "PodLabels": labels}
    return {"IP": POD_IP, "Internal": known}


def rendered(chart, values, release="r"):
    done = chart.run({"flow": FLOW, **values}, release=release)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def simulated(objects, traffic, folder):
    """Return whether each (source, destination, port) is allowed, whose peers are given as the simulator knows them."""
    policies = [each for each in objects if each["kind"] == "NetworkPolicy"]
    (folder / "policies").mkdir()
    for number, policy in enumerate(policies):
        (folder / f"policies/{number}.yaml").write_text(yaml.safe_dump(policy))
    keys = ("Source", "Destination", "ResolvedPort")
    asked = [{**dict(zip(keys, each, strict=True)), "Protocol": "TCP"} for each in traffic]
    file = folder / "traffic.json"
    file.write_text(json.dumps(asked))
    command = [
        "cyclonus",
        "analyze",
        "--mode=query-traffic",
        f"--policy-path={folder}/policies",
        f"--traffic-path={file}",
    ]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [answer == "TRUE" for answer in re.findall(r"IS ALLOWED\? \| +(TRUE|FALSE) ", said)]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_policies_let_through_what_they_should_and_nothing_else(chart, operator, tmp_path, scenario):
    values, *cases = SCENARIOS[scenario]
    objects, other = rendered(chart, values), rendered(chart, {}, release="other")
    pods = pods_of(objects) | {"worker of another release": pods_of(other)["worker"], "operator": operator}
    traffic = [(peer(source, pods), peer(destination, pods), port) for source, destination, port, _ in cases]

    answers = simulated([*objects, *other], traffic, tmp_path)

    assert [(*case[:3], answer) for case, answer in zip(cases, answers, strict=True)] == cases
