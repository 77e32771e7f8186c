"""Whom the chart's NetworkPolicy lets in and out."""

import pytest
from dask_flow.manifests import RunIdentity, dask_pod
from dask_flow.settings import RunSettings
from dask_flow.specs import PodTemplate, default_pod
from rendering import pod_templates

FLOW = {"files": {"flow.py": "def main(): return 1\n"}}
MONITORING = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
OURS = {"podSelector": {"matchLabels": {"dask-flow/release": "r-dask-flow"}}}


def policy(chart, **values):
    return chart.only("NetworkPolicy", flow=FLOW, **values)["spec"]


def ports(rule):
    return [each["port"] for each in rule.get("ports", [])]


def test_policy_selects_every_pod_of_the_release_and_lets_them_reach_each_other(chart):
    values = {"flow": FLOW, "static": {"enabled": True, "workerGroups": [{"name": "big"}]}}
    spec = policy(chart, static=values["static"])
    labels = [template["metadata"]["labels"] for template in pod_templates(chart.objects(**values))]

    assert spec["podSelector"]["matchLabels"].items() <= labels[0].items()
    assert len(labels) == 5
    assert all(spec["podSelector"]["matchLabels"].items() <= each.items() for each in labels)
    assert spec["ingress"][0] == {"from": [OURS]}


def test_policy_selects_the_pods_that_a_runner_makes(chart):
    template = chart.job_spec(flow=FLOW)["template"]
    runner = {
        "metadata": {**template["metadata"], "name": "p", "namespace": "ns", "uid": "u"},
        "spec": template["spec"],
    }
    worker = PodTemplate(default_pod("worker"))
    made = dask_pod(worker, "w", RunSettings(target="f"), RunIdentity.of_pod(runner, "10.0.0.7"), "tls://10.0.0.7:8786")

    assert policy(chart)["podSelector"]["matchLabels"].items() <= made["metadata"]["labels"].items()


def test_nobody_else_is_let_in_by_default(chart):
    assert policy(chart)["ingress"] == [{"from": [OURS]}]
    assert policy(chart)["policyTypes"] == ["Ingress"]


def test_dashboards_are_for_whom_the_values_name(chart):
    rule = policy(chart, networkPolicy={"dashboardFrom": MONITORING})["ingress"][1]

    assert (rule["from"], ports(rule)) == (MONITORING, [8787, 8790])


def test_static_scheduler_is_for_the_namespace_or_whom_the_values_name(chart):
    rule = policy(chart, static={"enabled": True})["ingress"][1]
    named = policy(chart, static={"enabled": True}, networkPolicy={"schedulerFrom": MONITORING})["ingress"][1]
    nobody = policy(chart, static={"enabled": True}, networkPolicy={"schedulerFrom": []})["ingress"]

    assert (rule["from"], ports(rule)) == ([{"podSelector": {}}], [8786])
    assert (named["from"], ports(named)) == (MONITORING, [8786])
    assert nobody == [{"from": [OURS]}]


def test_operator_may_ask_the_schedulers_of_its_clusters(chart):
    rule = policy(chart, cluster={"mode": "operator"})["ingress"][1]

    assert ports(rule) == [8786, 8787]
    assert rule["from"][0]["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "dask-kubernetes-operator"}


def test_egress_is_limited_on_demand_to_our_pods_names_and_what_is_given(chart):
    api = {"to": [{"ipBlock": {"cidr": "10.0.0.1/32"}}], "ports": [{"port": 6443}]}
    spec = policy(chart, networkPolicy={"egress": [api]})
    closed = policy(chart, networkPolicy={"egress": []})

    assert spec["policyTypes"] == closed["policyTypes"] == ["Ingress", "Egress"]
    assert spec["egress"] == [*closed["egress"], api]
    assert closed["egress"][0] == {"to": [OURS]}
    assert [(each["port"], each.get("protocol")) for each in closed["egress"][1]["ports"]] == [(53, "UDP"), (53, None)]


@pytest.mark.parametrize(
    "asked",
    [
        {"static": {"enabled": True, "dashboard": {"ingress": {"enabled": True, "hosts": ["dask.example"]}}}},
        {"static": {"enabled": True}, "metrics": {"podMonitor": {"enabled": True}}},
    ],
)
def test_notes_say_whom_the_policy_keeps_from_what_was_asked_for(chart, asked):
    told = "name them in networkPolicy.dashboardFrom"

    assert told in chart.notes(**asked)
    assert told not in chart.notes(**asked, networkPolicy={"dashboardFrom": MONITORING})
    assert told not in chart.notes(**asked, networkPolicy={"enabled": False})
    assert told not in chart.notes(static={"enabled": True})


def test_there_is_no_policy_where_it_is_off(chart):
    assert not chart.of_kind("NetworkPolicy", flow=FLOW, networkPolicy={"enabled": False})
