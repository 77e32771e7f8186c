"""A little of Kubernetes in memory, with watches, whose pods run as processes here."""

import copy
import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager

import urllib3
from api_server import Api, failure, runner_pod, served
from dask_flow.kube import Kube, Server

RUNNER = "nightly-x7k2p"


class Cluster(Api):
    """Runs the command of each pod's first container. `failing` and `refused` have, by the numbers of pods, the
    status that they have instead, and what is answered to a request for them.

    `on` has functions that are called, in the API server's thread, with each request of a (method, kind). Pods that are
    `stuck` are not gone when they are deleted.
    """

    def __init__(self):
        super().__init__()
        self.on, self.failing, self.refused, self.processes, self.stuck = {}, {}, {}, {}, False
        self._log, self._changed = [], threading.Condition()
        made = runner_pod("nightly", "x7k2p")
        self.add("pods", made | {"status": {"podIP": "127.0.0.1"}})

    def answer(self, method, path, query, body):
        if query.get("watch"):
            return 200, self.watch(path.rpartition("/")[2], int(query.get("resourceVersion", 0)))
        kind = path.partition("/namespaces/jobs/")[2].partition("/")[0]
        self.on.get((method, kind), lambda *_: None)(path)
        status, answer = super().answer(method, path, query, body)
        if method == "GET" and "items" in answer:
            answer["metadata"]["resourceVersion"] = str(len(self._log))
        return status, answer

    def note(self, event, kind, changed):
        with self._changed:
            self._log.append((kind, {"type": event, "object": copy.deepcopy(changed)}))
            self._changed.notify_all()

    def watch(self, kind, since):
        """Return what was noted of a kind since then, once there is some; a client asks again and again."""
        with self._changed:
            self._changed.wait_for(lambda: any(kind == its for its, _ in self._log[since:]), 0.2)
            return "".join(json.dumps(event) + "\n" for its, event in self._log[since:] if its == kind)

    def post(self, kind, namespace, name, query, body):
        if body["metadata"]["name"].rpartition("-")[2] in self.refused:
            status, message = self.refused[body["metadata"]["name"].rpartition("-")[2]]
            return status, failure(message, "Forbidden")
        status, made = super().post(kind, namespace, name, query, body)
        if kind == "pods" and status == 201:
            self.note("ADDED", kind, made)
            self.start(made)
        return status, made

    def start(self, pod):
        name, container = pod["metadata"]["name"], pod["spec"]["containers"][0]
        if name.rpartition("-")[2] in self.failing:
            self.status(name, self.failing[name.rpartition("-")[2]])
            return
        variables = {each["name"]: each["value"] for each in container["env"] if "value" in each}
        command = [sys.executable, "-m", *container["args"], "--no-dashboard"]
        self.processes[name] = subprocess.Popen(command, env=os.environ | variables, stderr=subprocess.DEVNULL)
        threading.Thread(target=self.wait, args=(name,), daemon=True).start()

    def wait(self, name):
        """Say how a pod's process ended."""
        code = self.processes[name].wait()
        ended = {"terminated": {"exitCode": code % 256, "reason": "Error" if code else "Completed"}}
        self.status(name, {"phase": "Failed" if code else "Succeeded", "containerStatuses": [status_of(ended)]})

    def status(self, name, status):
        pod = self.get("pods", name)
        if pod:
            pod["status"] = status
            self.note("MODIFIED", "pods", pod)

    def delete(self, kind, namespace, name, query, body):
        if name is not None:
            names = [name]
        else:
            wanted = query["labelSelector"]
            names = [each["metadata"]["name"] for each in self.get_(kind, namespace, None, query, None)[1]["items"]]
            names = [] if "!=" in wanted else names
        gone = [self.objects[kind, namespace, each] for each in names]
        for each in gone if not self.stuck else ():
            del self.objects[kind, namespace, each["metadata"]["name"]]
            if each["metadata"]["name"] in self.processes:
                self.processes[each["metadata"]["name"]].terminate()
            self.note("DELETED", kind, each)
        return 200, {"items": gone}


def status_of(state):
    return {"name": "worker", "state": state}


def waiting(reason, message):
    """Return a pod's status whose container waits."""
    return {"phase": "Pending", "containerStatuses": [status_of({"waiting": {"reason": reason, "message": message}})]}


@contextmanager
def in_cluster(monkeypatch, tmp_path):
    """Have this process run in a pod of a Cluster, which this yields."""
    made = Cluster()
    message = tmp_path / "termination-log"
    message.touch()
    monkeypatch.setenv("DASK_FLOW_TERMINATION_LOG", str(message))
    monkeypatch.setenv("DASK_FLOW_POD_NAME", RUNNER)
    # Others on this machine may use the scheduler's port.
    monkeypatch.setenv(
        "DASK_FLOW_POD_IP", f"127.{os.getpid() >> 16 & 255}.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"
    )
    made.message = message
    with served(made) as url:
        kube = Kube(Server(urllib3.PoolManager(maxsize=8), url, lambda: None), "jobs")
        monkeypatch.setattr(Kube, "in_cluster", classmethod(lambda _: kube))
        yield made
    for process in made.processes.values():
        process.kill()
        process.wait()
