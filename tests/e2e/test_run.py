"""Flows on temporary clusters of pods, by helm install."""

import json
import re

import pytest
from namespaces import FLIGHTS_IMAGE, IMAGE, ROOT

HELLO = (ROOT / "examples/hello.py").read_text()
SLOW = (
    "import time\ndef main(client, seconds=600):\n    return client.submit(time.sleep, seconds).result() or 'slept'\n"
)
HOSTS = (
    "import socket\n"
    "def host():\n    return socket.gethostname()\n"
    "def main(client):\n    return host() + ' ' + client.submit(host).result()\n"
)


def flow(text, **values):
    return {"files": {"flow.py": text}, **values}


def kill(namespace, runner, process):
    """Kill a process of the runner's pod, and maybe with it the one that does so."""
    script = f"import psutil; {process}.kill()"
    namespace.kubectl("exec", runner, "--", "python", "-c", script, check=False)


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


def test_deleting_the_job_in_mid_run_leaves_no_pod(namespace):
    namespace.install(flow=flow(SLOW))
    namespace.start()
    namespace.running_worker()

    namespace.kubectl("delete", "job", "run", "--wait=false")

    namespace.wait_for(lambda: not namespace.get("pods")["items"], "the end of all pods", seconds=60)


def test_sigterm_exits_143_and_leaves_nothing(namespace):
    namespace.install(flow=flow(SLOW))
    before = namespace.objects()
    namespace.start()
    runner, _ = namespace.running_worker()

    namespace.kubectl("exec", runner, "--", "sh", "-c", "kill -TERM 1", check=False)
    end = namespace.finish()

    assert (end.exit_code, end.reason) == (143, "interrupted by SIGTERM")
    assert namespace.objects() - before == {f"pod/{runner}"}


@pytest.mark.parametrize(
    ("given", "code", "reason"),
    [
        ({"text": "def main(): 1 / 0\n"}, 1, "the flow failed: task main: ZeroDivisionError: division by zero"),
        ({"text": "def main(n): ...\n", "params": {"m": 1}}, 2, "main() has no parameter 'm'; it has n"),
        ({"text": "def main(:\n"}, 2, "/etc/dask-flow/flow/flow.py:1: syntax error"),
    ],
)
def test_failures_of_the_flow_are_final(namespace, given, code, reason):
    text = given.pop("text")
    namespace.install(flow=flow(text, **given), run={"backoffLimit": 2})

    end = namespace.finish(namespace.start())

    assert (end.condition, end.exit_code) == ("Failed", code)
    assert end.reason.startswith(reason)
    assert len(namespace.runners()) == 1
    assert namespace.workers() == []


@pytest.mark.parametrize(
    ("values", "spec", "reason"),
    [
        ({"cluster": {"image": "localhost/nothing:1"}}, None, "localhost/nothing:1"),
        ({}, {"envFrom": [{"secretRef": {"name": "nothing"}}]}, 'secret "nothing" not found'),
        ({}, {"resources": {"requests": {"cpu": "1000"}}}, "Insufficient cpu"),
        ({}, {"args": ["dask", "worker", "--nthreads", "many"]}, "'many' is not a valid integer"),
        ({"rbac": {"create": False}}, None, "may not get pods in namespace"),
    ],
    ids=["image", "secret", "unschedulable", "crash", "rbac"],
)
def test_cluster_that_cannot_start_says_why(namespace, values, spec, reason):
    cluster = {"startupTimeoutSeconds": 20, **values.pop("cluster", {})}
    if spec:
        cluster["workerSpec"] = json.dumps({"kind": "Pod", "spec": {"containers": [{"name": "worker", **spec}]}})
    if "resources" in (spec or {}):
        cluster["startupTimeoutSeconds"] = 3
    namespace.install(flow=flow(HELLO), cluster=cluster, **values)

    end = namespace.finish(namespace.start())

    assert end.exit_code == 3, end.log
    assert reason in end.reason
    assert "Traceback" not in end.log
    assert namespace.workers() == []


def test_quota_is_the_reason_at_once(namespace):
    namespace.apply(
        {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "one"}, "spec": {"hard": {"pods": "1"}}}
    )
    namespace.install(flow=flow(HELLO))

    end = namespace.finish(namespace.start())

    assert end.exit_code == 3
    assert "exceeded quota: one" in end.reason


def test_killed_scheduler_is_another_attempt_on_a_fresh_cluster(namespace):
    namespace.install(flow=flow(SLOW, params={"seconds": 5}), run={"backoffLimit": 1})
    namespace.start()
    runner, _ = namespace.running_worker()

    kill(namespace, runner, "psutil.Process(1).children()[0].children()[0]")
    end = namespace.finish()

    first, second = namespace.runners()
    terminated = first["status"]["containerStatuses"][0]["state"]["terminated"]
    assert terminated["exitCode"] == 4
    assert terminated["message"] == "the Dask scheduler's process ended with signal 9 while the flow ran"
    assert second["metadata"]["name"] == end.pod
    assert (end.condition, end.exit_code) == ("Complete", 0)
    assert namespace.workers() == []


def test_killed_runner_leaves_nothing_and_is_another_attempt(namespace):
    namespace.install(flow=flow(SLOW, params={"seconds": 3}), run={"backoffLimit": 1})
    namespace.start()
    runner, _ = namespace.running_worker()

    kill(namespace, runner, "psutil.Process(1).children()[0]")
    end = namespace.finish()

    assert (end.condition, end.exit_code) == ("Complete", 0)
    assert end.pod != runner
    namespace.wait_for(lambda: not namespace.workers(), "the end of the workers", seconds=60)


def test_deleted_worker_is_replaced_and_its_tasks_run_again(namespace):
    namespace.install(flow=flow(SLOW, params={"seconds": 4}), cluster={"minWorkers": 1, "maxWorkers": 1})
    namespace.start()
    _, worker = namespace.running_worker()

    namespace.kubectl("delete", "pod", worker, "--wait=false")
    end = namespace.finish()

    assert end.exit_code == 0, end.log
    assert "result of main: slept" in end.log
    assert "it is replaced" in end.log
    assert namespace.workers() == []


def test_seeds_worker_spec_runs_with_its_old_flags(namespace):
    spec = (ROOT / "tests/unit/worker_spec.yaml").read_text()
    spec = spec.replace("image: gcr.io/dev/dask-k8s-flow:0.1.0", "image: '{{ image }}'")
    spec = spec.replace("fastparquet git+https://github.com/dask/distributed", "toolz")  # installed already
    spec = spec.replace('cpu: "2"', 'cpu: "0.5"').replace("memory: 2G", "memory: 0.2G")
    namespace.install(flow=flow(HELLO), cluster={"workerSpec": spec})

    end = namespace.finish(namespace.start())

    assert end.exit_code == 0, end.log
    for warning in ("dask-worker is now dask worker", "--no-bokeh is now --no-dashboard", "minimum of workers to 2"):
        assert warning in end.log
    assert "-worker-1" in end.log
    assert end.log.count("warning: ") == 3


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
