"""Flows on temporary clusters of pods, by helm install."""

import re

from namespaces import FLIGHTS_IMAGE, IMAGE, ROOT, SLOW, flow

HELLO = (ROOT / "examples/hello.py").read_text()
HOSTS = (
    "import socket\n"
    "def host():\n    return socket.gethostname()\n"
    "def main(client):\n    return host() + ' ' + client.submit(host).result()\n"
)

DECLARES_ITS_CLUSTER = """
import socket
from dask_flow import task, Flow
from dask_flow.executors import DaskExecutor
from dask_flow.run_configs import KubernetesRun

@task
def get_value():
    return "Example!"

@task
def output_value(value):
    print(value, "on", socket.gethostname())

with Flow("Static Dask Cluster Example") as flow:
    output_value(get_value())

flow.run_config = KubernetesRun()
flow.executor = DaskExecutor("tcp://dask-scheduler:8786")
"""


def test_hello_runs_on_a_worker_pod_and_leaves_nothing(namespace):
    namespace.install(flow=flow(HELLO))
    before = namespace.objects()

    end = namespace.finish(namespace.start())

    assert (end.condition, end.exit_code, end.reason) == ("Complete", 0, "the flow succeeded")
    assert re.search(rf"get_value: 1 task, .* on {end.pod}-worker-0", end.log)
    assert namespace.objects() - before == {f"pod/{end.pod}"}
    namespace.kubectl("delete", "job", "run")
    namespace.kubectl("wait", "--for=delete", "pod", "--all", "--timeout=60s")
    assert namespace.objects() == before


def test_tasks_run_on_the_workers_host_not_the_runners(namespace):
    namespace.install(flow=flow(HOSTS))

    end = namespace.finish(namespace.start())

    assert f"result of main: {end.pod} {end.pod}-worker-0" in end.log


def test_flights_scales_above_one_worker_and_equals_pandas(namespace):
    namespace.install(
        image=FLIGHTS_IMAGE,
        flow={"files": {"flights.py": (ROOT / "examples/flights.py").read_text()}},
        cluster={"minWorkers": 1, "maxWorkers": 3},
    )

    end = namespace.finish(namespace.start())

    assert end.exit_code == 0, end.log
    workers = re.search(r"month_of_flights: 12 tasks, .* on (.*)", end.log)[1].split(", ")
    assert len(workers) > 1, end.log
    from flights_in_pandas import by_carrier, by_wind, tables_in

    found_by_carrier, found_by_wind = tables_in(end.log)
    assert found_by_carrier == by_carrier()
    assert found_by_wind == by_wind()


def test_job_mode_ends_with_the_flow_and_an_upgrade_runs_again(namespace):
    values = {"run": {"mode": "job"}}
    echo = "def main(client, n): return client.submit(abs, n)\n"

    namespace.install("r", "--wait", "--wait-for-jobs", "--timeout", "2m", flow=flow(echo, params={"n": -1}), **values)
    first = namespace.get("jobs")["items"]
    namespace.install(
        *("r", "--wait", "--wait-for-jobs", "--timeout", "2m"),
        flow=flow(echo, params={"n": -2}),
        upgrade=True,
        **values,
    )
    second = namespace.get("jobs")["items"]

    assert [job["status"]["succeeded"] for job in first + second] == [1, 1]
    assert first[0]["metadata"]["name"] != second[0]["metadata"]["name"]
    assert "result of main: 2" in namespace.kubectl("logs", f"job/{second[0]['metadata']['name']}")


def test_quota_is_the_reason_at_once(namespace):
    namespace.apply(
        {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "one"}, "spec": {"hard": {"pods": "1"}}}
    )
    namespace.install(flow=flow(HELLO))

    end = namespace.finish(namespace.start())

    assert end.exit_code == 3
    assert "exceeded quota: one" in end.reason


def test_running_cluster_has_a_dashboard_and_a_small_runner(namespace):
    namespace.install(flow=flow(SLOW), cluster={"minWorkers": 2, "maxWorkers": 2})
    namespace.start()
    runner, _ = namespace.running_worker()
    memory = (
        "import glob; print(sum(int(line.split()[1]) for path in glob.glob('/proc/[0-9]*/smaps_rollup')"
        " for line in open(path) if line.startswith('Pss:')))"
    )
    page = "import urllib.request; print(urllib.request.urlopen('http://localhost:8787/status').read().decode())"

    kilobytes = int(namespace.kubectl("exec", runner, "--", "python", "-c", memory))
    status = namespace.kubectl("exec", runner, "--", "python", "-c", page)

    assert kilobytes < 300 * 1024
    assert "Dask Diagnostic UI" in status
    assert "bokeh" in status


def test_scheduler_in_the_runners_pod_has_the_runs_configuration(namespace):
    text = """
def of(dask_scheduler):
    import dask
    routes = dask.config.get("distributed.scheduler.http.routes")
    return routes, "stealing" in dask_scheduler.periodic_callbacks
def main(client):
    routes, steals = client.run_on_scheduler(of)
    return f"{' '.join(routes)} {steals}"
"""
    namespace.install(flow=flow(text), cluster={"workStealing": False})

    end = namespace.finish(namespace.start())

    result = re.search(r"result of main: (.*)", end.log)[1]
    assert "distributed.http.scheduler.info" in result
    assert "distributed.http.proxy" not in result
    assert "distributed.http.scheduler.api" not in result
    assert not [word for word in result.split() if word == "True"]
    assert (
        f"dashboard: http://localhost:8787/status after kubectl port-forward -n {namespace.name} pod/{end.pod} 8787"
        in end.log
    )


def test_static_mode_runs_on_a_cluster_that_it_leaves_alone(namespace):
    def pod(name, *args):
        restricted = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        container = {
            "name": "dask",
            "image": IMAGE,
            "args": list(args),
            "securityContext": restricted,
        }
        spec = {
            "terminationGracePeriodSeconds": 2,
            "containers": [container],
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        }
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}

    service = {"selector": {"app": "dask-scheduler"}, "ports": [{"port": 8786}]}
    namespace.apply(
        pod("dask-scheduler", "dask-scheduler", "--port", "8786"),
        pod(
            "dask-worker", "dask-worker", "tcp://dask-scheduler:8786", "--no-bokeh", "--nthreads", "1", "--nprocs", "2"
        ),
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "dask-scheduler"}, "spec": service},
    )
    namespace.install(
        flow=flow(HOSTS), cluster={"mode": "static", "address": "tcp://dask-scheduler:8786", "minWorkers": 2}
    )
    before = namespace.objects()

    end = namespace.finish(namespace.start())

    assert f"result of main: {end.pod} dask-worker" in end.log
    assert namespace.objects() - before == {f"pod/{end.pod}"}

    namespace.install("declared", flow=flow(DECLARES_ITS_CLUSTER))
    end = namespace.finish(namespace.start("second", "declared"))

    assert end.exit_code == 0, end.log
    assert "connected to tcp://dask-scheduler:8786" in end.log
    assert "task output_value: Example! on dask-worker" in end.log
