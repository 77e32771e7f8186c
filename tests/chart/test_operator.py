"""The Dask operator's mode, and its chart as an optional dependency."""

import importlib.metadata
from pathlib import Path

import pytest
import yaml
from rendering import CHART, pod_templates

FLOW = {"files": {"flow.py": "def main(): return 1\n"}}
STAND_IN = CHART / "charts/dask-kubernetes-operator"
ON = {"operator": {"enabled": True}}


def test_dependency_is_what_the_image_and_the_tests_have(dependency):
    assert dependency["version"] == importlib.metadata.version("dask-kubernetes")
    assert dependency["name"] == STAND_IN.name


def test_stand_in_holds_nothing():
    assert [path.name for path in STAND_IN.rglob("*")] == ["Chart.yaml"]
    assert yaml.safe_load((STAND_IN / "Chart.yaml").read_text())["version"] == "0.0.0"


def test_operator_without_its_chart_says_how_to_get_it(chart):
    message = chart.error(**ON)

    assert "run `helm dependency build CHART`" in message
    assert "helm install --repo https://helm.dask.org" in message


def test_operator_is_installed_with_its_kinds(complete_chart):
    objects = complete_chart.objects("--include-crds", **ON)
    kinds = {each["spec"]["names"]["kind"] for each in objects if each["kind"] == "CustomResourceDefinition"}

    assert {"DaskCluster", "DaskWorkerGroup", "DaskAutoscaler"} <= kinds
    assert [each["metadata"]["name"] for each in objects if each["kind"] == "Deployment"] == [
        "r-dask-kubernetes-operator"
    ]


@pytest.mark.parametrize("given", [{}, {"nameOverride": "other"}])
def test_policy_knows_the_installed_operators_pods(complete_chart, given):
    values = {"operator": {**ON["operator"], **given}, "cluster": {"mode": "operator"}}
    operator = complete_chart.only("Deployment", **values)["spec"]["template"]["metadata"]["labels"]
    (rule,) = complete_chart.only("NetworkPolicy", **values)["spec"]["ingress"][1]["from"]

    assert rule["podSelector"]["matchLabels"].items() <= operator.items()


def test_operators_values_reach_its_chart(complete_chart):
    image = {"name": "localhost/dask-flow", "tag": "dev"}
    templates = pod_templates(complete_chart.objects(operator={"enabled": True, "image": image}))

    assert "localhost/dask-flow:dev" in [each["spec"]["containers"][0]["image"] for each in templates]


def test_operators_chart_changes_nothing_while_it_is_off(chart, complete_chart):
    assert complete_chart.text("--include-crds", flow=FLOW) == chart.text("--include-crds", flow=FLOW)


@pytest.mark.parametrize("mode", ["auto", "pods", "static", "local"])
def test_only_the_operators_mode_knows_its_kinds(chart, mode):
    cluster = {"mode": mode, "address": "tcp://s:1" if mode == "static" else ""}

    assert "kubernetes.dask.org" not in chart.text(flow=FLOW, cluster=cluster)


def test_runs_by_the_operator_cannot_make_pods_or_secrets(chart):
    rules = chart.only("Role", flow=FLOW, cluster={"mode": "operator"})["rules"]
    core = [rule for rule in rules if rule["apiGroups"] == [""]]

    assert {resource for rule in core for resource in rule["resources"]} == {"pods", "services", "events"}
    assert not {verb for rule in core for verb in rule["verbs"]} & {"create", "patch", "update", "delete", "*"}


def test_values_for_the_operator_give_its_mode(complete_chart):
    path = Path(CHART.parents[1] / "values/operator.yaml")
    job = complete_chart.of_kind("CronJob", "-f", str(path))["r-dask-flow"]["spec"]["jobTemplate"]["spec"]
    env = {each["name"]: each.get("value") for each in job["template"]["spec"]["containers"][0]["env"]}

    assert (env["DASK_FLOW_CLUSTER"], env["DASK_FLOW_MIN_WORKERS"], env["DASK_FLOW_MAX_WORKERS"]) == (
        "operator",
        "1",
        "4",
    )
