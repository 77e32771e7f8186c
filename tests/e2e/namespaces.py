"""Namespaces of a real cluster, and what the tests do in them."""

import json
import os
import subprocess
import time
import uuid
from datetime import datetime
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/dask-flow"
IMAGE = os.environ.get("DASK_FLOW_TEST_IMAGE", "localhost/dask-flow:dev")
FLIGHTS_IMAGE = os.environ.get("DASK_FLOW_TEST_FLIGHTS_IMAGE", "localhost/dask-flow-flights:dev")
SEED_IMAGE = os.environ.get("DASK_FLOW_TEST_SEED_IMAGE", "localhost/dask-flow-seed:dev")

HELLO = (ROOT / "examples/hello.py").read_text()
SLOW = (
    "import time\ndef main(client, seconds=600):\n    return client.submit(time.sleep, seconds).result() or 'slept'\n"
)
# Says on how many workers it was at first, at most and at last, and how many tasks that took.
UP_AND_DOWN = """
import time
def work(n):
    time.sleep(0.5)
    return n
def workers(client):
    return len(client.nthreads())
def main(client):
    at_first, most = workers(client), 0
    futures = client.map(work, range(40), pure=False)
    while any(future.status == "pending" for future in futures):
        most = max(most, workers(client))
        time.sleep(0.1)
    while (at_last := workers(client)) > 1:
        time.sleep(0.1)
    total = sum(client.gather(futures))
    runs = [each for each in client.get_task_stream() if str(each["key"]).startswith("work-")]
    return f"{at_first} to {most} to {at_last} workers, total {total} in {len(runs)} runs"
"""


def flow(text, **values):
    """Return the chart's values for a flow of one file."""
    return {"files": {"flow.py": text}, **values}


def run(*command, check=True, stdin=None, timeout=240, cwd=None):
    words = [str(word) for word in command]
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False, timeout=timeout, cwd=cwd)
    assert not check or done.returncode == 0, f"{' '.join(map(str, command))}:\n{done.stdout}{done.stderr}"
    return done


OWN_NODE = pytest.mark.skipif(
    "DASK_FLOW_TEST_KUBECONFIG" in os.environ,
    reason="needs the node of tests/node: its version, its log, or to stop it",
)


def granted_by(role):
    """Return what a Role grants, as pairs of a resource and a verb."""
    return {(resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]}


def service_account(namespace, release="r"):
    """Return the user that a release's runner is."""
    return f"system:serviceaccount:{namespace.name}:{release}-dask-flow"


def requests(namespace):
    """Return what the runner of release `r` asked the API server of the tests' node, as such pairs too.

    What anybody may ask, such as which kinds there are, is of no resource.
    """
    path = Path(os.environ["KUBECONFIG"]).parent / "log/audit.log"
    lines = (line for line in path.read_text().splitlines() if f'"{service_account(namespace)}"' in line)
    asked = [each for each in map(json.loads, lines) if "objectRef" in each]
    return {(each["objectRef"]["resource"], each["verb"]) for each in asked}


class Namespace:
    """A namespace that enforces Pod Security "restricted", and what the tests do in it."""

    PAUSE_SECONDS = 0.2

    def __init__(self):
        self.name = f"e2e-{uuid.uuid4().hex[:8]}"

    def create(self):
        levels = (f"pod-security.kubernetes.io/{mode}=restricted" for mode in ("enforce", "warn"))
        run("kubectl", "create", "namespace", self.name)
        run("kubectl", "label", "namespace", self.name, *levels)

    def delete(self):
        """Ask for its deletion, with all that is in it."""
        run("kubectl", "delete", "namespace", self.name, "--wait=false", "--ignore-not-found")

    def kubectl(self, *args, **kwargs):
        return run("kubectl", "-n", self.name, *args, **kwargs).stdout

    def get(self, *args):
        return json.loads(self.kubectl("get", "-o", "json", *args))

    def apply(self, *objects):
        self.apply_text(yaml.safe_dump_all(objects))

    def apply_text(self, text):
        self.kubectl("apply", "-f", "-", stdin=text)

    def install(self, release="r", *args, image=IMAGE, upgrade=False, **values):
        repository, tag = image.rsplit(":", 1)
        values["image"] = {"repository": repository, "tag": tag}
        verb = "upgrade" if upgrade else "install"
        return run(
            *("helm", verb, release, CHART, "-n", self.name, "-f", ROOT / "values/dev.yaml", *args, "-f", "-"),
            stdin=json.dumps(values),
        ).stdout

    def start(self, run_name="run", release="r"):
        self.kubectl("create", "job", run_name, f"--from=cronjob/{release}-dask-flow")
        return run_name

    def wait_for(self, condition, what, seconds=120):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = condition()
            if found:
                return found
            time.sleep(self.PAUSE_SECONDS)
        pytest.fail(f"{what} did not happen within {seconds} s\n{self.kubectl('get', 'pods,events')}")

    def finish(self, run_name="run", seconds=120):
        """Wait for the Job's end and return how its last runner ended."""

        def ended():
            conditions = self.get("job", run_name)["status"].get("conditions", [])
            return [each for each in conditions if each["type"] in ("Complete", "Failed")]

        condition = self.wait_for(ended, f"the end of job {run_name}", seconds)[0]
        return Ending(self, run_name, condition)

    def runners(self, run_name="run"):
        pods = self.get("pods", "-l", f"batch.kubernetes.io/job-name={run_name}")["items"]
        return sorted(pods, key=lambda pod: pod["metadata"]["creationTimestamp"])

    def workers(self, phase=None):
        pods = self.get("pods", "-l", "app.kubernetes.io/component=worker")["items"]
        return [pod["metadata"]["name"] for pod in pods if phase in (None, pod["status"].get("phase"))]

    def running_worker(self):
        """Wait until a worker has joined, and return the runner's name and the worker's."""

        def joined():
            runners = self.runners()
            log = self.kubectl("logs", "job/run", "-c", "runner", check=False) if runners else ""
            return "first worker joined" in log and self.workers("Running")

        worker = self.wait_for(joined, "the first worker")[0]
        return self.runners()[-1]["metadata"]["name"], worker

    def wait_for_log(self, text, run_name="run", seconds=60):
        """Wait until the newest runner's log has the text, and return its pod's name."""

        def said():
            runners = self.runners(run_name)
            return runners and text in self.kubectl("logs", runners[-1]["metadata"]["name"], check=False)

        self.wait_for(said, f"{text!r} in the runner's log", seconds)
        return self.runners(run_name)[-1]["metadata"]["name"]

    def kill(self, pod, process):
        """Kill a process of a pod, and maybe with it the one that does so."""
        self.kubectl("exec", pod, "--", "python", "-c", f"import psutil; {process}.kill()", check=False)

    def objects(self):
        """Return the names of all that a run may make."""
        names = self.kubectl("get", "pods,services,secrets,configmaps,deployments", "-o", "name").split()
        return {name for name in names if not name.startswith("configmap/kube-root-ca")}

    def left(self, before, run_name="run"):
        """Return the names of what there is now and was not before, but the runners' pods."""
        return self.objects() - before - {f"pod/{pod['metadata']['name']}" for pod in self.runners(run_name)}


class Ending:
    """How a run ended."""

    def __init__(self, namespace, run_name, condition):
        runner = namespace.runners(run_name)[-1]
        terminated = runner["status"]["containerStatuses"][0]["state"]["terminated"]
        self.condition = condition["type"]
        times = (datetime.fromisoformat(terminated[key]) for key in ("finishedAt", "startedAt"))
        self.seconds = (next(times) - next(times)).total_seconds()
        self.pod = runner["metadata"]["name"]
        self.exit_code = terminated["exitCode"]
        self.reason = terminated.get("message", "")
        self.log = namespace.kubectl("logs", self.pod)
