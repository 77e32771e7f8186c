"""Functions and scripts on a temporary cluster with TLS, and code beside a flow's file, by helm install."""

import re

from namespaces import IMAGE, ROOT

WORKERS = r"on (?:[\w-]+-worker-\d+(?:, )?)+$"

LATE = """
import time
from distributed import Client, get_client
import early_xyz
def work(number):
    import late_xyz  # only in a task
    time.sleep(0.2)
    return early_xyz.host() + " " + late_xyz.NAME
if __name__ == "__main__":
    client = Client()
    assert get_client() is client
    hosts = set()
    while len(hosts) < 2:  # until a second worker has joined
        hosts.update(client.gather(client.map(work, range(40), pure=False)))
    print(client.scheduler.address, *sorted(hosts), sep="\\n")
"""
EARLY = "import socket\ndef host():\n    return socket.gethostname()\n"


def example(name, **values):
    return {"files": {name: (ROOT / "examples" / name).read_text()}, **values}


def test_script_gets_its_arguments_and_works_on_worker_pods(namespace):
    namespace.install(flow=example("script.py", args=["--tasks", "4"]))

    end = namespace.finish(namespace.start())

    assert (end.exit_code, end.reason) == (0, "the flow succeeded"), end.log
    assert "pi is about 3.14" in end.log
    assert re.search(rf"hits: 4 tasks, .* {WORKERS}", end.log, re.MULTILINE)


def test_function_gets_its_parameters_and_its_future_is_computed(namespace):
    namespace.install(flow=example("function.py", params={"limit": 1000}))

    end = namespace.finish(namespace.start())

    assert end.exit_code == 0, end.log
    assert "result of main: 168" in end.log
    assert re.search(rf"primes: 10 tasks, .* {WORKERS}", end.log, re.MULTILINE)


def test_modules_beside_a_script_reach_workers_that_come_later_too(namespace):
    files = {"flow.py": LATE, "early_xyz.py": EARLY, "late_xyz.py": "NAME = 'late'\n"}
    namespace.install(flow={"files": files, "target": "flow.py"}, cluster={"minWorkers": 1, "maxWorkers": 2})

    end = namespace.finish(namespace.start())

    assert end.exit_code == 0, end.log
    hosts = [f"{end.pod}-worker-{number} late" for number in range(2)]
    assert re.search("\n".join([r"^tls://.*", *hosts]), end.log, re.MULTILINE), end.log


def test_function_comes_from_a_url(namespace):
    server = serve(namespace, example("function.py")["files"])
    namespace.install(flow={"target": f"http://user:word@{server}/function.py:main", "params": {"limit": 1000}})

    end = namespace.finish(namespace.start())

    assert end.exit_code == 0, end.log
    assert "result of main: 168" in end.log
    assert "word" not in end.log


def serve(namespace, files):
    """Start a web server in a pod, wait until it answers, and return its address."""
    restricted = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {
        "name": "server",
        "image": IMAGE,
        "args": ["python", "-m", "http.server", "8000", "--directory", "/srv"],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8000}, "periodSeconds": 1},
        "securityContext": restricted,
        "volumeMounts": [{"name": "files", "mountPath": "/srv"}],
    }
    spec = {
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "volumes": [{"name": "files", "configMap": {"name": "files"}}],
    }
    namespace.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "files"}, "data": files},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "files"}, "spec": spec},
    )
    namespace.kubectl("wait", "--for=condition=Ready", "pod/files", "--timeout=60s")
    return f"{namespace.get('pod', 'files')['status']['podIP']}:8000"


def test_script_that_fails_says_so_and_is_not_tried_again(namespace):
    namespace.install(flow={"files": {"flow.py": "import sys\nsys.exit('no data today')\n"}}, run={"backoffLimit": 2})

    end = namespace.finish(namespace.start())

    assert (end.condition, end.exit_code) == ("Failed", 1)
    assert end.reason == "the flow failed: task flow: SystemExit: no data today"
    assert len(namespace.runners()) == 1


def test_module_that_the_image_lacks_is_named_with_the_ways_to_add_it(namespace):
    namespace.install(flow={"files": {"flow.py": "\nimport not_in_the_image\ndef main(): ...\n"}})

    end = namespace.finish(namespace.start())

    assert end.exit_code == 2
    assert end.reason.startswith("/etc/dask-flow/flow/flow.py:2: no module named 'not_in_the_image' here; install")
    assert "EXTRA_PIP_PACKAGES" in end.reason
    assert namespace.workers() == []
