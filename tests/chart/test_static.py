"""The cluster that stays: its scheduler, its workers, and what leads to them."""

import re

import click
import dask.config
import pytest
import yaml
from bokeh.server.util import check_allowlist, create_hosts_allowlist
from dask_flow.dask_commands import modern
from dask_flow.manifests import RunIdentity, dask_configuration
from dask_flow.settings import RunSettings
from distributed import worker_memory
from distributed.cli import dask_scheduler, dask_worker
from rendering import CHART, env, pod_templates

SCHEDULER = "r-dask-flow-scheduler"
WORKER = "r-dask-flow-worker"
SEED = CHART.parents[1] / "values/static.yaml"


def static(**values):
    return {"static": {"enabled": True, **values}}


def deployments(chart, **values):
    return chart.of_kind("Deployment", **static(**values))


def pod(deployment):
    return deployment["spec"]["template"]["spec"]


def options(container, command):
    """Return what Dask's own parser makes of a container's arguments."""
    assert modern(container["args"]) == (container["args"], [])
    assert container["args"][:2] == ["dask", command.name]
    with command.make_context(command.name, container["args"][2:]) as context:
        return context.params


WORKER_COMMAND = click.Command("worker", params=dask_worker.main.params)
SCHEDULER_COMMAND = click.Command("scheduler", params=dask_scheduler.main.params)


def worker_options(chart, **worker):
    return options(pod(deployments(chart, worker=worker)[WORKER])["containers"][0], WORKER_COMMAND)


def test_values_of_the_seed_give_its_objects(chart):
    objects = chart.objects("-f", str(SEED))
    names = {(each["kind"], each["metadata"]["name"]) for each in objects}
    workers = chart.of_kind("Deployment", "-f", str(SEED))[WORKER]

    assert names - {("CronJob", "r-dask-flow"), ("ServiceAccount", "r-dask-flow")} == {
        ("Deployment", SCHEDULER),
        ("Deployment", WORKER),
        ("Service", "dask-scheduler"),
        ("Service", "r-dask-flow-dashboard"),
        ("PodDisruptionBudget", WORKER),
        ("NetworkPolicy", "r-dask-flow"),
        ("Pod", "r-dask-flow-test"),
    }
    assert workers["spec"]["replicas"] == 2
    assert {"tcp://dask-scheduler:8786", "4"} <= set(pod(workers)["containers"][0]["args"])
    given = {name: value for name, value in env(pod(workers)).items() if value is not None}
    with dask.config.set(dask.config.collect_env(given)):
        assert dask.config.get("distributed.scheduler.work-stealing") is False
        assert dask.config.get("distributed.scheduler.blocked-handlers") == ["feed", "run_function"]


def test_updates_replace_the_scheduler_and_keep_all_workers(chart):
    found = deployments(chart)

    assert (found[SCHEDULER]["spec"]["replicas"], found[SCHEDULER]["spec"]["strategy"]) == (1, {"type": "Recreate"})
    assert found[WORKER]["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_scheduler_is_started_as_dask_wants(chart):
    container = pod(deployments(chart, scheduler={"args": ["--idle-timeout", "1 day"]})[SCHEDULER])["containers"][0]
    given = options(container, SCHEDULER_COMMAND)

    assert (given["port"], given["dashboard_address"], given["preload"]) == (
        *("8786", ":8787"),
        ("dask_flow.clusters.preload",),
    )
    assert (given["idle_timeout"], given["protocol"]) == ("1 day", None)


def test_scheduler_serves_the_same_routes_as_a_runs_own(chart):
    name = "DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES"

    assert env(pod(deployments(chart)[SCHEDULER]))[name] == dask_configuration(RunSettings(target="f"))[name]


def websocket_origins(chart, **values):
    """Return the origins as Dask reads them from the environment."""
    given = env(pod(deployments(chart, **values)[SCHEDULER]))
    with dask.config.set(dask.config.collect_env(given)):
        return dask.config.get("distributed.scheduler.dashboard.bokeh-application.allow_websocket_origin")


def test_dashboard_takes_websockets_from_where_it_is_reached(chart):
    dashboard = {"ingress": {"enabled": True, "hosts": ["dask.example.com"]}, "service": {"port": 80}}
    allowed = create_hosts_allowlist(websocket_origins(chart, dashboard=dashboard), 8787)

    for host in ("dask.example.com", "localhost:8787", "127.0.0.1:8787", "r-dask-flow-dashboard.ns.svc:80"):
        assert check_allowlist(host, allowed)
    assert not check_allowlist("evil.example.com", allowed)


def test_given_websocket_origins_are_the_only_ones(chart):
    assert websocket_origins(chart, dashboard={"allowedWebsocketOrigins": ["a:1", "*"]}) == ["a:1", "*"]


def test_worker_is_started_as_dask_wants(chart):
    given = worker_options(chart, nthreads=3, args=["--lifetime", "1h"])

    assert (given["scheduler"], given["nthreads"], given["name"]) == (f"tcp://{SCHEDULER}:8786", 3, "$(POD_NAME)")
    assert (given["nanny"], given["dashboard"], given["dashboard_address"]) == (False, False, ":8790")
    assert (given["preload"], given["death_timeout"]) == (("dask_flow.clusters.preload",), "60")
    assert (given["lifetime"], given["resources"]) == ("1h", None)


def test_several_workers_of_a_pod_have_nannies_that_hand_signals_on(chart):
    given = worker_options(chart, nworkers=2, daskResources={"GPU": 1, "memory": 2.5e9})

    assert (given["nanny"], given["n_workers"]) == (True, "2")
    assert given["preload_nanny"] == given["preload"] == ("dask_flow.clusters.preload",)
    assert dict(pair.split("=") for pair in given["resources"].split()) == {"GPU": "1", "memory": "2.5e+09"}


@pytest.mark.parametrize("nworkers", [1, 2, 3])
def test_workers_of_a_pod_share_its_memory_limit(chart, monkeypatch, nworkers):
    monkeypatch.setattr(worker_memory.system, "MEMORY_LIMIT", 12_000_000)
    resources = {"limits": {"memory": "12M"}}
    given = worker_options(chart, nworkers=nworkers, nthreads=1, resources=resources)["memory_limit"]

    assert worker_memory.parse_memory_limit(
        given, 1, total_cores=64, logger=worker_memory.worker_logger
    ) == pytest.approx(12_000_000 / nworkers, abs=1)


def test_worker_without_a_limit_chooses_when_it_starts(chart):
    for resources in ({}, {"requests": {"memory": "1Gi"}}, {"limits": {"cpu": 1}}):
        assert worker_options(chart, resources=resources)["memory_limit"] == "auto"


def test_workers_memory_may_be_given(chart):
    assert worker_options(chart, memoryLimit="2GiB")["memory_limit"] == "2GiB"


def test_worker_has_its_pods_name(chart):
    given = pod(deployments(chart)[WORKER])["containers"][0]["env"]

    assert {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}} in given


@pytest.mark.parametrize("name", [SCHEDULER, WORKER])
def test_users_environment_wins_by_name(chart, name):
    routes = {"name": "DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES", "value": "[]"}
    given = pod(
        deployments(chart, env=[routes, {"name": "A", "value": "1"}], envFrom=[{"secretRef": {"name": "s"}}])[name]
    )
    container = given["containers"][0]

    assert [each for each in container["env"] if each["name"] == routes["name"]] == [routes]
    assert env(given)["A"] == "1"
    assert container["envFrom"] == [{"secretRef": {"name": "s"}}]


GROUPS = [
    {"name": "gpu", "replicas": 1, "daskResources": {"GPU": 1}, "podSpec": {"nodeSelector": {"gpu": "yes"}}},
    {"name": "big", "nthreads": 8, "podDisruptionBudget": None},
]


def test_groups_differ_from_the_worker_in_what_they_say(chart):
    worker = {"replicas": 3, "nthreads": 2, "podLabels": {"team": "a"}, "podSpec": {"priorityClassName": "low"}}
    found = deployments(chart, worker=worker, workerGroups=GROUPS)
    gpu, big = found[f"{WORKER}-gpu"], found[f"{WORKER}-big"]

    assert [each["spec"]["replicas"] for each in (found[WORKER], gpu, big)] == [3, 1, 3]
    assert [options(pod(each)["containers"][0], WORKER_COMMAND)["nthreads"] for each in (gpu, big)] == [2, 8]
    assert (pod(gpu)["nodeSelector"], pod(gpu)["priorityClassName"]) == ({"gpu": "yes"}, "low")
    assert "nodeSelector" not in pod(found[WORKER])
    assert pod(big)["priorityClassName"] == "low"
    assert gpu["spec"]["template"]["metadata"]["labels"]["team"] == "a"


def test_groups_have_budgets_of_their_own(chart):
    worker = {"podDisruptionBudget": {"minAvailable": "50%"}}
    budgets = chart.of_kind("PodDisruptionBudget", **static(worker=worker, workerGroups=GROUPS))

    assert set(budgets) == {WORKER, f"{WORKER}-gpu"}
    assert limits(budgets[f"{WORKER}-gpu"]) == {"minAvailable": "50%"}


@pytest.mark.parametrize(
    ("given", "limit"),
    [
        ({"minAvailable": 1}, {"minAvailable": 1}),
        ({"minAvailable": None}, {"maxUnavailable": 1}),
        ({"maxUnavailable": 2}, {"maxUnavailable": 2}),
        (
            {"minAvailable": 0, "unhealthyPodEvictionPolicy": "AlwaysAllow"},
            {"minAvailable": 0, "unhealthyPodEvictionPolicy": "AlwaysAllow"},
        ),
    ],
)
def test_budget_has_one_of_its_two_limits(chart, given, limit):
    values = static(worker={"podDisruptionBudget": given}, workerGroups=[{"name": "big", "podDisruptionBudget": given}])
    budgets = chart.of_kind("PodDisruptionBudget", **values)

    assert [limits(each) for each in budgets.values()] == [limit, limit]


def limits(budget):
    return {key: value for key, value in budget["spec"].items() if key != "selector"}


def test_budget_allows_one_disruption_or_is_not_there(chart):
    assert chart.only("PodDisruptionBudget", **static())["spec"]["maxUnavailable"] == 1
    assert not chart.of_kind("PodDisruptionBudget", **static(worker={"podDisruptionBudget": None}))


def selectors(objects):
    for each in objects:
        selector = each["spec"].get("selector", {}) if "spec" in each else {}
        if each["kind"] in ("Deployment", "PodDisruptionBudget", "Service"):
            yield each["kind"], each["metadata"]["name"], selector.get("matchLabels", selector)


def test_selectors_find_their_own_pods_and_no_others(chart):
    objects = chart.objects(
        **static(workerGroups=GROUPS, worker={"podLabels": {"app.kubernetes.io/component": "runner"}})
    )
    labels = [template["metadata"]["labels"] for template in pod_templates(objects)]
    identity = RunIdentity(run="r", namespace="ns", pod_name="p", pod_uid="u", pod_ip="::", image="i")
    labels += [identity.metadata("x", role)["labels"] for role in ("scheduler", "worker")]

    found = [
        (kind, name, [each for each in labels if chosen.items() <= each.items()])
        for kind, name, chosen in selectors(objects)
    ]
    assert len(found) == 4 + 2 + 2  # Deployments, budgets, Services
    for kind, name, matched in found:
        assert len(matched) == 1, (kind, name)
        assert matched[0]["app.kubernetes.io/component"] == ("worker" if WORKER in name else "scheduler")
    workers = [str(matched) for kind, name, matched in found if kind == "Deployment"]
    assert len(set(workers)) == len(workers)


def test_pod_specs_are_merged_containers_by_name(chart):
    over = {
        "topologySpreadConstraints": [],
        "securityContext": {"fsGroup": 1},
        "imagePullSecrets": [{"name": "b"}],
        "containers": [
            {
                "name": "worker",
                "image": "mine:1",
                "env": [{"name": "POD_NAME", "value": "w"}],
                "volumeMounts": [{"name": "fast", "mountPath": "/tmp"}],
                "livenessProbe": None,
            },
            {"name": "sidecar", "image": "s"},
        ],
        "volumes": [
            {"name": "fast", "emptyDir": {"medium": "Memory"}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
        ],
    }
    values = static(worker={"podSpec": over}) | {"imagePullSecrets": [{"name": "a"}, {"name": "b"}]}
    spec = pod(chart.of_kind("Deployment", **values)[WORKER])
    worker, sidecar = spec["containers"]

    assert (worker["image"], sidecar["name"], worker.get("livenessProbe")) == ("mine:1", "sidecar", None)
    assert [each for each in worker["env"] if each["name"] == "POD_NAME"] == [{"name": "POD_NAME", "value": "w"}]
    assert worker["volumeMounts"] == [{"name": "fast", "mountPath": "/tmp"}]
    assert spec["volumes"] == [{"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}, over["volumes"][0]]
    assert spec["imagePullSecrets"] == [{"name": "a"}, {"name": "b"}]
    assert spec["topologySpreadConstraints"] == []
    assert spec["securityContext"]["runAsNonRoot"] is True


def test_workers_are_spread_over_hosts_where_that_is_possible(chart):
    deployment = deployments(chart)[WORKER]
    constraint = pod(deployment)["topologySpreadConstraints"][0]

    assert (constraint["topologyKey"], constraint["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "ScheduleAnyway")
    assert constraint["labelSelector"] == deployment["spec"]["selector"]


@pytest.mark.parametrize(("name", "port", "ready"), [(SCHEDULER, 8787, "/health"), (WORKER, 8790, "/ready")])
def test_probes_ask_dask_itself_and_have_patience(chart, name, port, ready):
    container = pod(deployments(chart)[name])["containers"][0]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}

    for probe, path in (("readinessProbe", ready), ("livenessProbe", "/health")):
        assert container[probe]["httpGet"] == {"path": path, "port": "http-dashboard"}
    assert ports["http-dashboard"] == port
    assert container["livenessProbe"]["periodSeconds"] * container["livenessProbe"]["failureThreshold"] == 300
    assert container["readinessProbe"]["periodSeconds"] <= 2


def test_workers_have_as_long_to_hand_over_as_the_values_say(chart):
    found = deployments(chart, worker={"terminationGracePeriodSeconds": 600})

    assert pod(found[WORKER])["terminationGracePeriodSeconds"] == 600
    assert pod(found[SCHEDULER])["terminationGracePeriodSeconds"] < 60


def test_services_lead_to_ports_of_the_scheduler(chart):
    values = static(service={"name": "dask", "port": 9, "type": "NodePort"}, dashboard={"service": {"port": 80}})
    ports = {each["name"] for each in pod(chart.of_kind("Deployment", **values)[SCHEDULER])["containers"][0]["ports"]}
    services = chart.of_kind("Service", **values)
    found = {name: (each["spec"]["type"], each["spec"]["ports"]) for name, each in services.items()}

    assert found == {
        "dask": ("NodePort", [{"name": "tcp-comm", "port": 9, "targetPort": "tcp-comm"}]),
        "r-dask-flow-dashboard": (
            "ClusterIP",
            [{"name": "http-dashboard", "port": 80, "targetPort": "http-dashboard"}],
        ),
    }
    assert ports == {"tcp-comm", "http-dashboard"}


@pytest.mark.parametrize(
    ("release", "values"), [("a.b", {}), ("1abc", {"fullnameOverride": "abc"}), (f"{'a' * 51}.b", {})]
)
def test_services_have_valid_names_whatever_the_releases(chart, release, values):
    done = chart.run(static() | values, release=release)
    services = [each for each in yaml.safe_load_all(done.stdout) if each["kind"] == "Service"]

    assert len(services) == 2, done.stderr
    for each in services:
        assert re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", each["metadata"]["name"])


def test_release_that_begins_with_a_digit_is_told_how_to_name_its_services(chart):
    done = chart.run(static(), release="1abc")

    assert "1abc-dask-flow begins with a digit; set fullnameOverride" in done.stderr
    assert chart.run({}, release="1abc").returncode == 0


def test_ingress_leads_to_the_dashboards_service(chart):
    ingress = {
        "enabled": True,
        "className": "nginx",
        "hosts": ["a.example", "b.example"],
        "tls": [{"hosts": ["a.example"]}],
    }
    values = static(dashboard={"ingress": ingress})
    spec = chart.only("Ingress", **values)["spec"]

    assert (spec["ingressClassName"], spec["tls"]) == ("nginx", ingress["tls"])
    assert [rule["host"] for rule in spec["rules"]] == ["a.example", "b.example"]
    backend = spec["rules"][0]["http"]["paths"][0]["backend"]["service"]
    service = chart.of_kind("Service", **values)[backend["name"]]
    assert backend["port"]["name"] in [port["name"] for port in service["spec"]["ports"]]


def test_monitors_find_the_ports_that_have_metrics(chart):
    on = {"enabled": True, "labels": {"release": "prom"}, "interval": "1m"}
    values = static(workerGroups=GROUPS) | {"metrics": {"serviceMonitor": on, "podMonitor": on}}
    objects = chart.objects(**values)
    services, pods = chart.only("ServiceMonitor", **values), chart.only("PodMonitor", **values)

    def chosen(monitor, all_labels):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        return sum(wanted <= labels.items() for labels in all_labels)

    assert chosen(services, [each["metadata"]["labels"] for each in objects if each["kind"] == "Service"]) == 1
    assert chosen(pods, [each["metadata"]["labels"] for each in pod_templates(objects)]) == 3
    endpoint = {"port": "http-dashboard", "path": "/metrics", "interval": "1m"}
    assert services["spec"]["endpoints"] == pods["spec"]["podMetricsEndpoints"] == [endpoint]
    assert services["metadata"]["labels"]["release"] == pods["metadata"]["labels"]["release"] == "prom"


def test_static_cluster_is_made_on_demand_only(chart):
    values = yaml.safe_load(SEED.read_text())
    values["static"]["enabled"] = False

    assert {each["kind"] for each in chart.objects(**values)} == {
        "ServiceAccount",
        "Role",
        "RoleBinding",
        "CronJob",
        "NetworkPolicy",
        "Pod",
    }


def test_notes_say_how_to_reach_the_cluster(chart):
    values = static(tls={"secretName": "keys"}, dashboard={"service": {"port": 80}})
    notes = chart.notes(**values)

    assert "stays at tls://r-dask-flow-scheduler:8786" in notes
    assert "port-forward -n ns service/r-dask-flow-dashboard 8787:80" in notes
    assert "--set cluster.tlsSecretName=keys" in notes
    assert "Runs of this release use it" in notes
    assert "Runs of this release use it" not in chart.notes(**values, cluster={"mode": "pods"})
    assert "stays at" not in chart.notes()
