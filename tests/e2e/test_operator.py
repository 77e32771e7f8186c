"""Runs on clusters that the Dask operator makes: as in pods mode, and nothing is left of them."""

import json
import re

import pytest
from dask_operator import INSTALL, installed_definitions
from namespaces import HELLO, OWN_NODE, SLOW, UP_AND_DOWN, flow, granted_by, requests

KINDS = "daskclusters,daskautoscalers,daskworkergroups,deployments,replicasets,pods,services"
RUNNER = "psutil.Process(1).children()[0]"
CRASHING = ["dask", "worker", "--worker-class", "nothing.Worker"]
# The operator looks every five seconds.
SLOWLY_UP_AND_DOWN = UP_AND_DOWN.replace("time.sleep(0.5)", "time.sleep(1)")


def install(namespace, text=HELLO, backoff_limit=0, params=None, **cluster):
    cluster = {"mode": "operator", "minWorkers": 1, "maxWorkers": 1, **cluster}
    specs = {name: json.dumps({"spec": cluster[name]}) for name in ("workerSpec", "schedulerSpec") if name in cluster}
    given = flow(text, **({"params": params} if params else {}))
    namespace.install(flow=given, cluster=cluster | specs, run={"backoffLimit": backoff_limit})


def left(namespace):
    """Return what there is of runs but their own pods."""
    names = namespace.kubectl("get", KINDS, "-o", "name").split()
    runners = {f"pod/{pod['metadata']['name']}" for pod in namespace.runners()}
    return set(names) - runners


def set_idle_timeout(namespace, seconds):
    """Have the operator think that of the run's cluster, which says a minute."""
    name = namespace.kubectl("get", "daskclusters", "-o", "name").strip()
    namespace.kubectl("patch", name, "--type=merge", "-p", json.dumps({"spec": {"idleTimeout": seconds}}))


def wait_for_the_cleaner(condition, namespace):
    """Wait for the garbage collector, which takes half a minute to know of definitions that are new."""
    namespace.wait_for(condition, "the end of the DaskCluster", seconds=60)


def ending_of(pod):
    return pod["status"]["containerStatuses"][0]["state"]["terminated"]


def test_missing_operator_is_exit_code_3_and_how_to_install_it(namespace):
    install(namespace)

    end = namespace.finish(namespace.start())

    assert (end.exit_code, end.seconds <= 10) == (3, True), end.log
    assert end.reason.startswith("the Dask operator is not installed: this Kubernetes has no DaskCluster")
    assert INSTALL in end.reason
    assert "--cluster pods needs no operator" in end.reason


def test_operator_that_does_not_run_is_exit_code_3_and_how_to_install_it(namespace):
    with installed_definitions():
        install(namespace)

        end = namespace.finish(namespace.start())

        assert end.exit_code == 3, end.log
        assert re.match(r"no Dask operator took up DaskCluster run-\w+ within 8 s: it does not run, or", end.reason)
        assert INSTALL in end.reason
        wait_for_the_cleaner(lambda: not left(namespace), namespace)


@pytest.fixture
def watched(namespace, operator):
    return namespace


def test_release_with_the_operator_runs_its_flow_on_a_cluster_of_it(operator):
    end = operator.finish(operator.start(release="operator"))

    assert end.exit_code == 0, end.log
    assert "task output_value: Example!" in end.log
    wait_for_the_cleaner(lambda: not operator.kubectl("get", "daskclusters,daskautoscalers", "-o", "name"), operator)


@OWN_NODE
def test_report_has_the_logs_of_pods_that_the_operator_made(watched, reports):
    cluster = {"mode": "operator", "minWorkers": 1, "maxWorkers": 1}
    watched.install(flow=flow(HELLO), cluster=cluster, report={"persistentVolumeClaim": "reports"})

    end = watched.finish(watched.start())

    report = json.loads((reports / "run/report.json").read_text())
    logs = {path.stem: path.read_text() for path in (reports / "run/logs").iterdir()}
    (worker,) = report["workers"]
    assert end.exit_code == 0, end.log
    assert "Registered to" in logs[worker["pod"]]
    assert worker["name"] != worker["pod"]
    assert len([name for name in logs if "-scheduler-" in name]) == 1


def test_flow_runs_and_nothing_is_left(watched):
    install(watched)

    end = watched.finish(watched.start())

    assert end.exit_code == 0, end.log
    assert "task output_value: Example!" in end.log
    assert re.search(r"port-forward -n \S+ svc/run-\w+-scheduler 8787", end.log)
    assert "warning" not in end.log
    assert left(watched) == set()


@OWN_NODE
def test_runner_uses_every_verb_of_its_role_and_no_other(watched):
    install(watched, SLOWLY_UP_AND_DOWN, maxWorkers=2)
    granted = granted_by(watched.get("role", "r-dask-flow"))

    end = watched.finish(watched.start(), seconds=180)

    assert end.exit_code == 0, end.log
    watched.wait_for(lambda: requests(watched) >= granted, f"the use of {granted}", seconds=20)
    assert requests(watched) == granted


def test_specs_of_pods_mode_are_honoured(watched):
    sidecar = {"name": "sidecar", "args": ["python", "-c", "import time; time.sleep(600)"]}
    worker = {
        "name": "worker",
        "command": ["dask", "worker", "--nthreads", "3", "--no-nanny", "--dashboard-address", ":8790"],
        "env": [{"name": "COLOUR", "value": "blue"}],
        "resources": {"limits": {"cpu": 1, "memory": "512Mi"}, "requests": {"cpu": 0.1}},
        "readinessProbe": {"httpGet": {"path": "/health", "port": 8790}},
    }
    scheduler = {"name": "scheduler", "env": [{"name": "DASK_DISTRIBUTED__SCHEDULER__WORK_STEALING", "value": "False"}]}
    text = """
import dask, os, re
def main(client):
    (worker,) = client.sync(client.scheduler.identity, n_workers=-1)["workers"].values()
    work_stealing = client.run_on_scheduler(dask.config.get, "distributed.scheduler.work-stealing")
    found = re.fullmatch("run-[a-z0-9]+-default-worker-[a-f0-9]{10}", worker["name"])
    return bool(found), worker["nthreads"], client.submit(os.getenv, "COLOUR").result(), work_stealing
"""
    install(watched, text, workerSpec={"containers": [sidecar, worker]}, schedulerSpec={"containers": [scheduler]})

    end = watched.finish(watched.start())

    assert end.exit_code == 0, end.log
    assert "result of main: (True, 3, 'blue', False)" in end.log
    assert left(watched) == set()


def test_autoscaler_grows_and_shrinks_without_losing_a_task(watched):
    install(watched, SLOWLY_UP_AND_DOWN, maxWorkers=3)

    end = watched.finish(watched.start(), seconds=240)

    assert end.exit_code == 0, end.log
    assert re.search(r"result of main: 1 to [23] to 1 workers, total 780", end.log), end.log
    assert left(watched) == set()


def test_deleted_job_leaves_nothing(watched):
    install(watched, SLOW)
    watched.start()
    watched.running_worker()

    watched.kubectl("delete", "job", "run", "--wait=false")

    watched.wait_for(lambda: not left(watched), "the end of all that the run made", seconds=60)


def test_cluster_of_a_killed_runner_is_deleted_when_it_was_idle_for_long(watched):
    install(watched, SLOW, params={"seconds": 20})
    watched.start()
    runner, _ = watched.running_worker()
    set_idle_timeout(watched, 5)

    watched.kill(runner, RUNNER)
    end = watched.finish()

    assert end.exit_code == 137
    watched.wait_for(lambda: not left(watched), "the end of all that the run made", seconds=90)


def test_next_attempt_of_a_killed_runner_deletes_the_first_ones_cluster(watched):
    install(watched, SLOW, params={"seconds": 20}, backoff_limit=1)
    watched.start()
    runner, _ = watched.running_worker()

    watched.kill(runner, RUNNER)
    end = watched.finish()

    assert (end.condition, end.exit_code) == ("Complete", 0), end.log
    assert f"deleting clusters of an earlier attempt: {runner}" in end.log
    assert left(watched) == set()


def test_flow_that_leaves_the_cluster_idle_goes_on(watched):
    install(
        watched, "import time\ndef main(client):\n    time.sleep(20)\n    return client.submit(pow, 2, 10).result()\n"
    )
    watched.start()
    watched.running_worker()
    set_idle_timeout(watched, 4)

    end = watched.finish()

    assert end.exit_code == 0, end.log
    assert "result of main: 1024" in end.log


def test_restarted_scheduler_is_another_attempt(watched):
    install(watched, SLOW, params={"seconds": 20}, backoff_limit=1)
    watched.start()
    runner, _ = watched.running_worker()
    (scheduler,) = watched.get("pods", "-l", "dask.org/component=scheduler")["items"]

    watched.kill(scheduler["metadata"]["name"], RUNNER)
    end = watched.finish()

    first = ending_of(watched.runners()[0])
    assert first["exitCode"] == 4
    assert re.match(rf"the Dask scheduler was lost: pod {runner}-scheduler-\S+, container scheduler", first["message"])
    assert (end.condition, end.exit_code) == ("Complete", 0)
    assert left(watched) == set()


def test_restarted_worker_does_its_tasks_again_and_the_log_says_why(watched):
    text = "import time\ndef work(n): time.sleep(0.5); return n\ndef main(client):\n"
    text += "    return sum(client.gather(client.map(work, range(30))))\n"
    install(watched, text, minWorkers=2, maxWorkers=2)
    watched.start()
    _, worker = watched.running_worker()

    watched.kill(worker, RUNNER)
    end = watched.finish()

    assert end.exit_code == 0, end.log
    assert "result of main: 435" in end.log
    assert re.search(
        rf"warning: pod {worker}, container worker: Error, exit code 137.*; Kubernetes tries", end.log, re.DOTALL
    )
    assert left(watched) == set()


@pytest.mark.parametrize(
    ("cluster", "reason"),
    [
        ({"image": "localhost/nothing:1"}, "localhost/nothing:1"),
        ({"workerSpec": {"containers": [{"name": "worker", "image": "localhost/nothing:2"}]}}, "localhost/nothing:2"),
        (
            {"workerSpec": {"containers": [{"name": "worker", "envFrom": [{"secretRef": {"name": "nothing"}}]}]}},
            'secret "nothing" not found',
        ),
        (
            {"workerSpec": {"containers": [{"name": "worker", "args": CRASHING}]}},
            "No module named 'nothing'",
        ),
        (
            {"schedulerSpec": {"containers": [{"name": "scheduler", "securityContext": {"runAsUser": 0}}]}},
            'violates PodSecurity "restricted',
        ),
    ],
    ids=["image", "workers-image", "secret", "crash", "restricted"],
)
def test_cluster_that_cannot_start_says_why_at_once(watched, cluster, reason):
    install(watched, startupTimeoutSeconds=120, **cluster)

    end = watched.finish(watched.start())

    assert end.exit_code == 3, end.log
    assert reason in end.reason
    assert end.seconds <= 40
    assert "Traceback" not in end.log
    watched.wait_for(lambda: not left(watched), "the end of all that the run made", seconds=40)


def test_field_that_the_operator_does_not_know_is_refused_rather_than_lost(watched):
    init = {"name": "log", "args": ["python", "-c", ""], "restartPolicy": "Always"}
    install(watched, workerSpec={"initContainers": [init], "containers": [{"name": "worker"}]})

    end = watched.finish(watched.start())

    assert end.exit_code == 2, end.log
    assert 'unknown field "spec.worker.spec.initContainers[0].restartPolicy"' in end.reason


def test_unschedulable_scheduler_has_until_the_timeout(watched):
    resources = {"requests": {"cpu": "1000"}}
    spec = {"containers": [{"name": "scheduler", "resources": resources}]}
    install(watched, startupTimeoutSeconds=4, schedulerSpec=spec)

    end = watched.finish(watched.start())

    assert end.exit_code == 3, end.log
    assert end.reason.startswith("the Dask scheduler was not ready within 4 s: pod ")
    assert "Insufficient cpu" in end.reason
    assert end.seconds <= 40


def test_quota_without_room_is_the_reason(watched):
    install(watched)
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full"}, "spec": {"hard": {"pods": "1"}}}
    watched.apply(quota)
    watched.wait_for(lambda: "hard" in watched.get("resourcequota", "full")["status"], "the quota")

    end = watched.finish(watched.start())

    assert end.exit_code == 3, end.log
    assert "exceeded quota: full" in end.reason
    assert end.seconds <= 20
