"""What goes wrong, before and while a flow runs: the reason is right, another attempt is made, nothing is left."""

import json
import re
import time
from datetime import datetime

import pytest
from namespaces import HELLO, IMAGE, OWN_NODE, ROOT, SLOW, flow, run

SQUARES = """
import time
def square(n, seconds):
    time.sleep(seconds)
    return n * n
def main(client, count=12, seconds=1.0):
    return sum(client.gather(client.map(square, range(count), seconds=seconds)))
"""


def worker_spec(**container):
    return json.dumps({"kind": "Pod", "spec": {"containers": [{"name": "worker", **container}]}})


def test_deleting_the_job_in_mid_run_leaves_no_pod(namespace):
    namespace.install(flow=flow(SLOW))
    before = namespace.objects()
    namespace.start()
    namespace.running_worker()

    namespace.kubectl("delete", "job", "run", "--wait=false")

    namespace.wait_for(lambda: namespace.objects() == before, "the end of all that the run made", seconds=60)


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
        (
            {"text": HELLO, "spec": "spec:\n  containers: [{name: worker, imag: x}]\n  nodename: y\n"},
            2,
            "/etc/dask-flow/worker_spec.yaml:2: spec.containers[0].imag is not a field of a Container; did you mean",
        ),
        ({"text": "def main(:\n"}, 2, "/etc/dask-flow/flow/flow.py:1: syntax error"),
    ],
)
def test_failures_of_the_flow_are_final(namespace, given, code, reason):
    text, spec = given.pop("text"), given.pop("spec", "")
    namespace.install(flow=flow(text, **given), run={"backoffLimit": 2}, cluster={"workerSpec": spec})
    before = namespace.objects()

    end = namespace.finish(namespace.start())

    assert (end.condition, end.exit_code) == ("Failed", code)
    assert end.reason.startswith(reason)
    assert len(namespace.runners()) == 1
    assert namespace.left(before) == set()


NO_SECRET_TO_MOUNT = {
    "kind": "Pod",
    "spec": {
        "containers": [{"name": "worker", "volumeMounts": [{"name": "keys", "mountPath": "/keys"}]}],
        "volumes": [{"name": "keys", "secret": {"secretName": "nothing"}}],
    },
}


@pytest.mark.parametrize(
    ("values", "spec", "reason"),
    [
        ({"cluster": {"image": "localhost/nothing:1"}}, None, "localhost/nothing:1"),
        ({}, worker_spec(envFrom=[{"secretRef": {"name": "nothing"}}]), 'secret "nothing" not found'),
        ({}, json.dumps(NO_SECRET_TO_MOUNT), 'secret "nothing" not found'),
        ({}, worker_spec(args=["dask", "worker", "--worker-class", "nothing.Worker"]), "No module named 'nothing'"),
        ({"rbac": {"create": False}}, None, "may not get pods in namespace"),
        ({}, worker_spec(securityContext={"runAsUser": 0}), 'violates PodSecurity "restricted'),
    ],
    ids=["image", "secret", "mount", "crash", "rbac", "restricted"],
)
def test_cluster_that_cannot_start_says_why_at_once(namespace, values, spec, reason):
    cluster = {"startupTimeoutSeconds": 120, **values.pop("cluster", {}), **({"workerSpec": spec} if spec else {})}
    namespace.install(flow=flow(HELLO), cluster=cluster, run={"backoffLimit": 0}, **values)
    before = namespace.objects()

    end = namespace.finish(namespace.start())

    assert end.exit_code == 3, end.log
    assert reason in end.reason
    assert end.seconds <= 20
    assert "Traceback" not in end.log
    assert namespace.left(before) == set()


INBOX = """
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        print(self.rfile.read(int(self.headers["Content-Length"])).decode(), flush=True)
        self.send_response(200)
        self.end_headers()
HTTPServer(("", 8000), Handler).serve_forever()
"""


@pytest.fixture
def inbox(namespace):
    """Have a web hook that the Secret `alerts` names; yield a function that returns what was posted to it."""
    restricted = {"allowPrivilegeEscalation": False, "runAsNonRoot": True, "capabilities": {"drop": ["ALL"]}}
    restricted["seccompProfile"] = {"type": "RuntimeDefault"}
    container = {"name": "inbox", "image": IMAGE, "args": ["python", "-c", INBOX], "securityContext": restricted}
    namespace.apply(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "inbox"}, "spec": {"containers": [container]}}
    )
    namespace.kubectl("wait", "--for=condition=Ready", "pod/inbox", "--timeout=120s")
    address = namespace.get("pod", "inbox")["status"]["podIP"]
    namespace.kubectl("create", "secret", "generic", "alerts", f"--from-literal=urls=json://{address}:8000")
    return lambda: [json.loads(line) for line in namespace.kubectl("logs", "inbox").splitlines() if line[0] == "{"]


def test_quota_without_room_is_the_reason_and_is_told_once_after_the_last_attempt(namespace, inbox):
    namespace.install(flow=flow(HELLO), run={"backoffLimit": 1, "notify": {"secretName": "alerts"}})
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full"}, "spec": {"hard": {"pods": "2"}}}
    namespace.apply(quota)
    namespace.wait_for(lambda: "hard" in namespace.get("resourcequota", "full")["status"], "the quota")

    end = namespace.finish(namespace.start())

    assert end.exit_code == 3, end.log
    assert "exceeded quota: full" in end.reason
    assert end.seconds <= 20
    assert len(namespace.runners()) == 2
    (message,) = inbox()
    assert message["title"].endswith(f"failed: run run in namespace {namespace.name}")
    assert end.reason in message["message"]


def test_unschedulable_pods_have_until_the_timeout(namespace):
    spec = worker_spec(resources={"requests": {"cpu": "1000"}})
    namespace.install(
        flow=flow(HELLO), cluster={"startupTimeoutSeconds": 10, "workerSpec": spec}, run={"backoffLimit": 0}
    )

    end = namespace.finish(namespace.start())

    assert end.exit_code == 3, end.log
    assert end.reason.startswith("no worker joined within 10 s: pod ")
    assert "Insufficient cpu" in end.reason
    assert re.search(r"waiting: pod .*-worker-0 is not scheduled: .* Insufficient cpu", end.log)


@pytest.mark.alone
def test_workers_that_find_no_room_while_others_run_are_named(namespace):
    cpu = run("kubectl", "get", "node", "-o", "jsonpath={.items[0].status.allocatable.cpu}").stdout
    spec = worker_spec(resources={"requests": {"cpu": f"{int(cpu) * 600}m"}})
    cluster = {"minWorkers": 2, "maxWorkers": 2, "workerSpec": spec}
    namespace.install(flow=flow(SLOW, params={"seconds": 3}), cluster=cluster)

    end = namespace.finish(namespace.start())

    assert (end.condition, end.exit_code) == ("Complete", 0), end.log
    assert re.search(r"waiting: pod .*-worker-\d is not scheduled: .* Insufficient cpu", end.log)


def test_other_versions_in_the_workers_are_refused_with_a_table(namespace):
    fake = "import pathlib; p = pathlib.Path('/fake/cloudpickle-0.1.dist-info'); p.mkdir()"
    fake += "; (p / 'METADATA').write_text('Metadata-Version: 2.1\\nName: cloudpickle\\nVersion: 0.1\\n')"
    mount = {"name": "fake", "mountPath": "/fake"}
    spec = {
        "initContainers": [{"name": "fake", "args": ["python", "-c", fake], "volumeMounts": [mount]}],
        "containers": [{"name": "worker", "env": [{"name": "PYTHONPATH", "value": "/fake"}], "volumeMounts": [mount]}],
        "volumes": [{"name": "fake", "emptyDir": {}}],
    }
    namespace.install(flow=flow(HELLO), cluster={"workerSpec": json.dumps({"spec": spec})})

    end = namespace.finish(namespace.start())

    assert (end.condition, end.exit_code) == ("Failed", 2), end.log
    header, row = end.reason.splitlines()[1:]
    assert header.split() == ["package", "runner", "scheduler", "workers"]
    assert row.split()[0::3] == ["cloudpickle", "0.1"]


def test_killed_scheduler_is_another_attempt_on_a_fresh_cluster(namespace):
    namespace.install(flow=flow(SLOW, params={"seconds": 20}), run={"backoffLimit": 1})
    before = namespace.objects()
    namespace.start()
    runner, _ = namespace.running_worker()

    namespace.kill(runner, "psutil.Process(1).children()[0].children()[0]")
    end = namespace.finish()

    first, second = namespace.runners()
    terminated = first["status"]["containerStatuses"][0]["state"]["terminated"]
    assert terminated["exitCode"] == 4
    assert terminated["message"] == "the Dask scheduler's process ended with signal 9 while the flow ran"
    assert second["metadata"]["name"] == end.pod
    assert (end.condition, end.exit_code) == ("Complete", 0)
    assert namespace.left(before) == set()


def test_killed_runner_leaves_nothing_and_is_another_attempt(namespace):
    namespace.install(flow=flow(SLOW, params={"seconds": 20}), run={"backoffLimit": 1})
    before = namespace.objects()
    namespace.start()
    runner, _ = namespace.running_worker()

    namespace.kill(runner, "psutil.Process(1).children()[0]")
    end = namespace.finish()

    assert (end.condition, end.exit_code) == ("Complete", 0)
    assert end.pod != runner
    assert namespace.objects() - before == {f"pod/{runner}", f"pod/{end.pod}"}


def test_next_attempt_makes_room_before_it_asks_for_pods(namespace):
    cluster = {"scheduler": "pod", "maxWorkers": 1}
    namespace.install(flow=flow(SLOW, params={"seconds": 10}), run={"backoffLimit": 1}, cluster=cluster)
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "one"}, "spec": {"hard": {"pods": "3"}}}
    namespace.apply(quota)
    namespace.wait_for(lambda: "hard" in namespace.get("resourcequota", "one")["status"], "the quota")
    before = namespace.objects()
    namespace.start()
    runner, _ = namespace.running_worker()

    namespace.kill(runner, "psutil.Process(1).children()[0]")
    end = namespace.finish()

    assert (end.condition, end.exit_code) == ("Complete", 0), end.log
    assert f"deleting pods of an earlier attempt: {runner}-" in end.log
    assert namespace.objects() - before == {f"pod/{runner}", f"pod/{end.pod}"}


def test_killed_worker_is_replaced_and_its_tasks_run_again(namespace):
    namespace.install(flow=flow(SQUARES, params={"count": 40}), cluster={"minWorkers": 2, "maxWorkers": 2})
    before = namespace.objects()
    namespace.start()
    _, worker = namespace.running_worker()

    namespace.kill(worker, "psutil.Process(1).children()[0]")
    end = namespace.finish()

    assert end.exit_code == 0, end.log
    assert f"result of main: {sum(n * n for n in range(40))}" in end.log
    assert f"pod {worker} ended: container worker: Error, exit code 137" in end.log
    assert namespace.left(before) == set()


@pytest.mark.parametrize(
    "args",
    [None, ["dask", "worker", "--nthreads", "1"], ["dask", "worker", "--nthreads", "1", "--nworkers", "2"]],
    ids=["process", "nanny", "two-nannies"],
)
def test_deleted_worker_hands_over_and_no_task_runs_twice(namespace, args):
    text = SQUARES.replace("return sum(", "print('START', flush=True)\n    total = sum(")
    text += "    runs = [each for each in client.get_task_stream() if str(each['key']).startswith('square')]\n"
    text += "    return f'{total} in {len(runs)} runs'\n"
    cluster = {"minWorkers": 2, "maxWorkers": 2, **({"workerSpec": worker_spec(args=args)} if args else {})}
    namespace.install(flow=flow(text, params={"count": 36}), cluster=cluster)  # so long as a deletion may take
    before = namespace.objects()
    namespace.start()
    namespace.running_worker()
    namespace.wait_for_log("START")
    namespace.wait_for(lambda: len(namespace.workers("Running")) == 2, "two workers")

    # All of a pod's workers drain: none is left for the kubelet to kill after 30 seconds.
    namespace.kubectl("delete", "pod", namespace.workers("Running")[0], "--timeout=20s")
    end = namespace.finish()

    assert end.exit_code == 0, end.log
    assert f"result of main: {sum(n * n for n in range(36))} in 36 runs" in end.log
    assert "was deleted; it is replaced" in end.log
    assert namespace.left(before) == set()


def test_drain_of_a_node_takes_worker_pods_too(namespace):
    namespace.install(flow=flow(SLOW))
    namespace.start()
    runner, worker = namespace.running_worker()
    node = namespace.get("pod", worker)["spec"]["nodeName"]

    options = ("--dry-run=server", "--delete-emptydir-data", "--pod-selector", f"dask-flow/runner={runner}")
    said = run("kubectl", "drain", node, *options).stdout

    assert f"evicting pod {namespace.name}/{worker}" in said


LIMIT = {"limits": {"memory": "300Mi"}}


@pytest.mark.parametrize(
    ("container", "killed"),
    [
        ({"resources": LIMIT}, "container worker: OOMKilled, exit code 137, memory limit 300Mi"),
        # The nanny goes on when the kernel kills its worker alone, so that Kubernetes may know of nothing.
        ({"args": ["dask-worker", "--nthreads", "1"]}, "OOMKilled, "),
    ],
    ids=["alone", "with-a-nanny-and-a-limit-of-the-namespace"],
)
def test_task_that_needs_more_memory_than_there_is_fails_with_the_limit(namespace, container, killed):
    text = """
import time
def eat():
    return len(b"x" * 2**30)
def limits(client):
    return set(client.run(lambda dask_worker: dask_worker.memory_manager.memory_limit).values())
def main(client):
    while limits(client) != {300 * 2**20}:
        time.sleep(0.1)
    return client.submit(eat).result()
"""
    default = {"type": "Container", "default": LIMIT["limits"]}
    namespace.apply(
        {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "default"}, "spec": {"limits": [default]}}
    )
    namespace.install(flow=flow(text), cluster={"workerSpec": worker_spec(**container)})
    before = namespace.objects()

    end = namespace.finish(namespace.start())

    assert (end.condition, end.exit_code) == ("Failed", 1), end.log
    assert "KilledWorker" in end.reason
    assert killed in end.reason
    assert re.search("memory limit 300(Mi|.00 MiB)", end.reason)
    assert namespace.left(before) == set()


def test_workers_that_keep_dying_end_the_run_with_the_cause(namespace):
    text = """
import os, time
def die(n): os._exit(7)
def main(client):
    for n in range(100):
        client.submit(die, n, pure=False)
        time.sleep(1)
"""
    namespace.install(flow=flow(text), cluster={"allowedFailures": 1, "maxWorkers": 1}, run={"backoffLimit": 0})
    before = namespace.objects()

    end = namespace.finish(namespace.start())

    assert end.exit_code == 4, end.log
    assert end.reason.startswith("2 worker pods ended by the same cause, exit code 7, more than --allowed-failures 1")
    assert namespace.left(before) == set()


def test_suspended_run_leaves_nothing_and_starts_afresh_when_resumed(namespace):
    namespace.install(flow=flow(SLOW, params={"seconds": 20}))
    before = namespace.objects()
    namespace.start()
    namespace.running_worker()

    namespace.kubectl("patch", "job", "run", "-p", '{"spec": {"suspend": true}}')
    namespace.wait_for(lambda: namespace.objects() == before, "the end of all that the run made")
    namespace.kubectl("patch", "job", "run", "-p", '{"spec": {"suspend": false}}')
    end = namespace.finish()

    assert (end.condition, end.exit_code) == ("Complete", 0)
    assert namespace.objects() - before == {f"pod/{end.pod}"}


def test_deadline_ends_the_run_and_time_to_live_removes_it(namespace):
    namespace.install(flow=flow(SLOW), run={"activeDeadlineSeconds": 15, "ttlSecondsAfterFinished": 3})
    before = namespace.objects()
    namespace.start()
    namespace.running_worker()

    def failed():
        return [
            each for each in namespace.get("job", "run")["status"].get("conditions", []) if each["type"] == "Failed"
        ]

    condition = namespace.wait_for(failed, "the deadline")[0]

    assert condition["reason"] == "DeadlineExceeded"
    namespace.wait_for(lambda: namespace.kubectl("get", "jobs", "-o", "name") == "", "the end of the Job")
    namespace.wait_for(lambda: namespace.objects() == before, "the end of all that the run made")


def test_deleted_namespace_is_gone_soon(namespace):
    namespace.install(flow=flow(SLOW))
    namespace.start()
    namespace.running_worker()

    run("kubectl", "delete", "namespace", namespace.name, "--wait=false")

    run("kubectl", "wait", "--for=delete", f"namespace/{namespace.name}", "--timeout=60s")


@pytest.mark.parametrize("kill", ["process", "pod"])
def test_scheduler_pod_that_ends_is_another_attempt(namespace, kill):
    namespace.install(flow=flow(SLOW, params={"seconds": 20}), cluster={"scheduler": "pod"}, run={"backoffLimit": 1})
    before = namespace.objects()
    namespace.start()
    runner, _ = namespace.running_worker()

    if kill == "process":
        namespace.kill(f"{runner}-scheduler", "psutil.Process(1).children()[0]")
    else:
        namespace.kubectl("delete", "pod", f"{runner}-scheduler", "--wait=false")
    end = namespace.finish()

    first = namespace.runners()[0]["status"]["containerStatuses"][0]["state"]["terminated"]
    assert first["exitCode"] == 4
    assert first["message"].startswith(f"the Dask scheduler was lost: pod {runner}-scheduler ")
    assert (end.condition, end.exit_code) == ("Complete", 0)
    assert namespace.left(before) == set()


def wait_for_the_nodes_heartbeat(namespace):
    """Wait until the kubelet, who backs off for up to a minute, speaks with the API server again."""
    back = time.time()

    def renewed():
        lease = namespace.get("lease", "node-1", "-n", "kube-node-lease")["spec"]["renewTime"]
        return datetime.fromisoformat(lease).timestamp() > back

    namespace.wait_for(renewed, "the node's heartbeat", seconds=180)
    run("kubectl", "wait", "--for=condition=Ready", "node/node-1", "--timeout=200s")


@OWN_NODE
@pytest.mark.alone
@pytest.mark.parametrize("seconds", [100, 20], ids=["while-it-runs", "as-it-ends"])
def test_api_server_may_be_away_for_a_minute(namespace, seconds):
    squares = flow(SQUARES, params={"count": seconds, "seconds": 1.0})
    namespace.install(flow=squares, cluster={"maxWorkers": 1}, run={"backoffLimit": 0})
    before = namespace.objects()
    namespace.start()
    runner, _ = namespace.running_worker()

    run(ROOT / "tests/node/apiserver", "stop")
    try:
        time.sleep(60)
    finally:
        run(ROOT / "tests/node/apiserver", "start")
    log = namespace.wait_for(lambda: namespace.kubectl("logs", runner, check=False), "the runner's log")
    wait_for_the_nodes_heartbeat(namespace)
    end = namespace.finish()

    assert ("flow ran" in log) == (seconds == 20), log
    assert (end.condition, end.exit_code) == ("Complete", 0), end.log
    assert f"result of main: {sum(n * n for n in range(seconds))}" in end.log
    assert namespace.objects() - before == {f"pod/{runner}"}
