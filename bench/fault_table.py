"""The faults of the sweep: what is done to a run, and how it must end. The kinds are those of docs/failures.md."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from namespaces import ROOT, run

if TYPE_CHECKING:
    from faults import Place

__all__ = ["FAULTS", "HOLD", "RIGHT", "Fault", "Values"]

Values = Mapping[str, Any]
Action = Callable[["Place"], object]

RIGHT = "20540"
"""The result of the flows that have one: the sum of the squares of 0 to 39."""
HOLD = "faults.dask-flow.test/hold"
"""A finalizer by which a deleted pod stays until the fault has happened."""
SQUARES = """
import time
def square(n):
    time.sleep(0.5)
    return n * n
def main(client):
    futures = client.map(square, range(40))
    futures[0].result()
    print("RUNNING", flush=True)
    return sum(client.gather(futures))
"""


@dataclass(frozen=True)
class Fault:
    """What is done to a run, and how it must end.

    `ends` are the exit codes of its attempts, as far as their pods remain; there may be two, unless the only one is 3
    or more. `words` is a regular expression for the first attempt's reason, or its log if it succeeded. `when` is the
    state of the run in which `do` is called: starting (no node takes its workers yet), running, or closing (its
    workers are not gone yet). `remains`: some goes with the Job only. `seconds` are from `do` to the first end at most.
    """

    name: str
    ends: tuple[int, ...]
    words: str
    flow: str = SQUARES
    cluster: Values = field(default_factory=dict)
    values: Values = field(default_factory=dict)
    limits: Values | None = None
    when: str = ""
    do: Action | None = None
    outcome: str = ""
    result: str = RIGHT
    remains: bool = False
    seconds: float | None = None


def task(*lines: str) -> str:
    """Return a function that has one task do this."""
    body = "".join(f"    {line}\n" for line in lines)
    return f"def work():\n{body}def main(client): return client.submit(work).result()\n"


def printing(text: str) -> str:
    """Return a flow whose task prints this; what a function has printed on workers is not in the runner's log."""
    head = "import os\nfrom dask_flow import Flow, task\n@task\ndef work():\n"
    return f"{head}    print({text})\n    return 20540\nwith Flow('prints') as flow:\n    work()\n"


def worker(pod: Values | None = None, metadata: Values | None = None, **container: Any) -> dict[str, Any]:
    """Return the chart's values for workers with this container, and this in their pod's spec."""
    spec = {**(pod or {}), "containers": [{"name": "worker", **container}]}
    return {"workerSpec": json.dumps({"metadata": metadata or {}, "spec": spec})}


def mounted(volume: Values, path: str = "/keys") -> dict[str, Any]:
    return worker({"volumes": [{"name": "it", **volume}]}, volumeMounts=[{"name": "it", "mountPath": path}])


def limit(kind: str, **spec: Any) -> Values:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "full"}, "spec": spec}


def env(**variables: str) -> Values:
    return {"flow": {"env": [{"name": name, "value": value} for name, value in variables.items()]}}


def quota(pods: int) -> Values:
    return limit("ResourceQuota", hard={"pods": str(pods)})


# Processes of a pod, whose first is tini, and signals.
MAIN = "psutil.Process(1).children()[0]"
SCHEDULER = f"{MAIN}.children()[0]"
OF_NANNY = f"[child for child in {MAIN}.children() if 'spawn_main' in ' '.join(child.cmdline())][0]"
INT, KILL, TERM, STOP = 2, 9, 15, 19


def signal(component: str, number: int = KILL, process: str = MAIN, pods: int | None = 1) -> Action:
    return lambda place: [place.signal(pod, process, number) for pod in place.pods(component)[:pods]]


def delete(component: str, *options: str, pods: int | None = 1) -> Action:
    return lambda place: place.kubectl("delete", "pod", "--wait=false", *options, *place.pods(component)[:pods])


def evict(component: str) -> Action:
    return lambda place: place.evict(place.pods(component)[0])


def kubectl(*words: str) -> Action:
    return lambda place: place.kubectl(*words)


def both(first: Action, then: Action) -> Action:
    return lambda place: [first(place), then(place)]


def twice(action: Action) -> Action:
    """Do it, and again when the run's clean-up has begun."""
    return lambda place: [place.hold(), action(place), place.wait_until_closing(), action(place)]


def suspend_and_resume(place: Place) -> None:
    place.kubectl("patch", "job", "run", "-p", '{"spec": {"suspend": true}}')
    place.kubectl("wait", "--for=delete", "pod", "--all", "--timeout=60s")
    place.kubectl("patch", "job", "run", "-p", '{"spec": {"suspend": false}}')


def delete_namespace(place: Place) -> None:
    place.delete()


def without_api_server(place: Place) -> None:
    run(ROOT / "tests/node/apiserver", "stop")
    try:
        time.sleep(60)  # no wait for anything, but how long it is away
    finally:
        run(ROOT / "tests/node/apiserver", "start")


GREEDY = task("return len(b'x' * 2**30)")
DYING = """
import os, time
def die(n): os._exit(7)
def main(client):
    for n in range(100):
        client.submit(die, n, pure=False)
        time.sleep(1)
"""
HOARDING = """
import builtins, time
def hold(n):
    import psutil
    builtins.HELD = getattr(builtins, "HELD", [])
    while psutil.Process().memory_info().rss < 0.85 * 400 * 2**20:
        builtins.HELD.append(b"x" * 2**20)
    time.sleep(1)
def main(client): return client.gather(client.map(hold, range(100)))
"""
NO_TEXT = """
class Odd(Exception):
    def __str__(self): raise RuntimeError("no text")
def main(): raise Odd()
"""
NO_PICKLE = """
class Odd(Exception):
    def __reduce__(self): raise TypeError("no pickle")
def odd(): raise Odd("an odd error")
def main(client): return client.submit(odd).result()
"""
NO_REPR = """
class Row:
    def __repr__(self): raise RuntimeError("detached")
def main(): return Row()
"""
FILLING = task("import time", "open('/tmp/big', 'wb').write(bytes(50_000_000))", "time.sleep(600)")
NOWHERE = {"name": "nothing"}
NO_IMAGE = "localhost/nothing:1"
NO_CONFIG_MAP = 'configmap "nothing" not found'
NO_SUCH = 'secret "nothing" not found'
NO_CLAIM = 'persistentvolumeclaim "nothing" not found'
NO_INDEX = {"EXTRA_PIP_PACKAGES": "nothing", "PIP_INDEX_URL": "http://127.0.0.1:1/simple", "PIP_RETRIES": "1"}
NO_TOKEN = {"runner": {"podSpec": {"automountServiceAccountToken": False}}}
SHORT = {"startupTimeoutSeconds": 10}
ONE = {"minWorkers": 1, "maxWorkers": 1}
NANNY = {"args": ["dask", "worker", "--nthreads", "1"]}
SLEEPING = ["sh", "-c", 'sleep 600; exec dask worker "$@"', "--"]
SMALL = {"resources": {"limits": {"memory": "300Mi"}}}
SMALL_RANGE = limit("LimitRange", limits=[{"type": "Container", "default": {"memory": "300Mi"}}])
SMALL_DISK = mounted({"emptyDir": {"sizeLimit": "10Mi"}}, "/tmp")  # noqa: S108 - a pod's
HUNGRY = {"resources": {"requests": {"cpu": "1000"}}}
# Workers that find a node when the fault has happened.
HELD = worker({"nodeSelector": {"{{ namespace }}": "go"}})
HELD_AND_FAILING = worker(metadata={"finalizers": [HOLD]}, image=NO_IMAGE)
OWN_SCHEDULER = {"cluster": {"scheduler": "pod"}}
SCHEDULER_WITHOUT_IMAGE = {"schedulerSpec": json.dumps({"spec": {"containers": [{"image": NO_IMAGE}]}})}
STATIC = {"cluster": {"mode": "static"}, "static": {"enabled": True}}
NOTHING_LISTENS = {"mode": "static", "address": "tcp://127.0.0.1:1", **SHORT}
FAKE = {"name": "it", "mountPath": "/fake"}
MAKE_FAKE = (
    "import pathlib; p = pathlib.Path('/fake/cloudpickle-0.1.dist-info'); p.mkdir();"
    " (p / 'METADATA').write_text('Metadata-Version: 2.1\\nName: cloudpickle\\nVersion: 0.1\\n')"
)
OTHER_VERSIONS = worker(
    {
        "initContainers": [{"name": "fake", "args": ["python", "-c", MAKE_FAKE], "volumeMounts": [FAKE]}],
        "volumes": [{"name": "it", "emptyDir": {}}],
    },
    env=[{"name": "PYTHONPATH", "value": "/fake"}],
    volumeMounts=[FAKE],
)
OF_TLS = ("delete", "secret", "-l", "app.kubernetes.io/component=tls")

Starting, Running, Closing = (partial(Fault, when=when) for when in ("starting", "running", "closing"))
WELL = "the flow succeeded"
REPLACED = "it is replaced"
KILLED = "exit code 137.*it is replaced"
SIGTERM, SIGINT = "interrupted by SIGTERM", "interrupted by SIGINT"
SCHEDULER_KILLED = "the Dask scheduler's process ended with signal 9"
SCHEDULER_LOST = "the Dask scheduler was lost: pod"
CONNECTION_LOST = "the connection to the Dask scheduler was lost"
OOM = "OOMKilled.*memory limit 300(Mi|\\.00 MiB)"

# fmt: off
FAULTS: dict[str, tuple[Fault, ...]] = {
    # Before the flow runs
    "image": (
        Fault("workers' image is nowhere", (3, 3), NO_IMAGE, cluster={"image": NO_IMAGE}),
        Fault("pull secret is nowhere", (0,), WELL, values={"imagePullSecrets": [NOWHERE]}),
        Fault("scheduler's image is nowhere", (3,), "the Dask scheduler cannot start: .*nothing:1",
              cluster=SCHEDULER_WITHOUT_IMAGE),
    ),
    "Secret or ConfigMap of a variable": (
        Fault("Secret is nowhere", (3,), NO_SUCH, cluster=worker(envFrom=[{"secretRef": NOWHERE}])),
        Fault("ConfigMap is nowhere", (3,), NO_CONFIG_MAP, cluster=worker(envFrom=[{"configMapRef": NOWHERE}])),
    ),
    "Secret or ConfigMap of a volume": (
        Fault("Secret is nowhere", (3,), NO_SUCH, cluster=mounted({"secret": {"secretName": "nothing"}})),
        Fault("ConfigMap is nowhere", (3,), NO_CONFIG_MAP, cluster=mounted({"configMap": NOWHERE})),
        Fault("claim is nowhere", (3,), NO_CLAIM,
              cluster={**mounted({"persistentVolumeClaim": {"claimName": "nothing"}}), **SHORT}),
    ),
    "quota, Pod Security": (
        Fault("no room for a worker", (3,), "exceeded quota: full", limits=quota(1)),
        Fault("room for one of two workers", (0,), "exceeded quota: full", limits=quota(2)),
        Fault("worker is root", (3,), 'violates PodSecurity "restricted',
              cluster=worker(securityContext={"runAsUser": 0})),
    ),
    "crash": (
        Fault("worker's class is nowhere", (3,), "No module named 'nothing'",
              cluster=worker(args=["dask", "worker", "--worker-class", "nothing.Worker"])),
        Fault("EXTRA_PIP_PACKAGES without an index", (3,), "^EXTRA_PIP_PACKAGES", values=env(**NO_INDEX)),
    ),
    "rights": (
        Fault("no Role", (3,), "may not get pods", values={"rbac": {"create": False}}),
        Fault("no service account token", (3,), "no access to the Kubernetes API", values=NO_TOKEN),
        Running("no Role any more, and a worker is killed", (0,), "may not", remains=True,
                do=both(kubectl("delete", "rolebinding", "--all"), signal("worker"))),
    ),
    "no node, no word": (
        Fault("worker asks for 1000 CPUs", (3,), "Insufficient cpu", cluster={**worker(**HUNGRY), **SHORT}),
        Fault("worker sleeps", (3,), "the pods run, but no worker joined",
              cluster={**worker(command=SLEEPING), **SHORT}),
    ),
    "bad input": (
        Fault("parameter is unknown", (2,), "no parameter 'nothing'", values={"flow": {"params": {"nothing": 1}}}),
        Fault("worker spec has an unknown key", (2,), "imag is not a field", cluster=worker(imag="x")),
        Fault("worker has a wrong option", (2,), "--nthreads many: give a whole number",
              cluster=worker(args=["dask", "worker", "--nthreads", "many"])),
        Fault("flow's file is nowhere", (2,), "no such file", values={"flow": {"target": "/nothing.py"}}),
        Fault("flow's file has a syntax error", (2,), "syntax error", flow="def main(:\n"),
        Fault("workers' versions are others", (2,), "the versions .* differ", cluster=OTHER_VERSIONS),
    ),
    "while it starts": (
        Starting("a worker's pod is deleted", (0,), REPLACED, cluster=HELD, do=delete("worker")),
        Starting("all workers' pods are deleted", (0,), REPLACED, cluster=HELD, do=delete("worker", pods=None)),
        Starting("TLS Secret is deleted", (3, 0), "no worker joined within 10 s: .*-tls", cluster={**HELD, **SHORT},
                 do=kubectl(*OF_TLS)),
        Starting("scheduler is killed", (3, 0), SCHEDULER_KILLED, cluster=HELD, do=signal("runner", process=SCHEDULER)),
        Starting("runner is killed", (137, 0), "", cluster=HELD, do=signal("runner")),
        Starting("SIGTERM", (143, 0), SIGTERM, cluster=HELD, do=signal("runner", TERM)),
        Starting("SIGINT", (130, 0), SIGINT, cluster=HELD, do=signal("runner", INT)),
        Closing("SIGTERM in the clean-up of a failed start", (3,), NO_IMAGE, cluster=HELD_AND_FAILING,
                do=signal("runner", TERM)),
    ),
    # While the flow runs
    "a worker pod ends": (
        Running("worker is killed", (0,), KILLED, do=signal("worker")),
        Running("all workers are killed", (0,), KILLED, do=signal("worker", pods=None)),
        Running("nanny is killed", (0,), KILLED, cluster=worker(**NANNY), do=signal("worker")),
        Running("nanny's worker is killed", (0,), WELL, cluster=worker(**NANNY), do=signal("worker", process=OF_NANNY)),
        Running("pod is deleted by force", (0,), REPLACED, do=delete("worker", "--grace-period=0", "--force")),
        Running("worker stops to answer", (0,), WELL, values=env(DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL="5s"),
                do=signal("worker", STOP)),
        Running("TLS Secret is deleted, and a worker killed", (0,), REPLACED,
                do=both(kubectl(*OF_TLS), signal("worker"))),
        Running("is killed in a static cluster", (0,), WELL, values=STATIC, do=signal("worker")),
    ),
    "a worker is told to end": (
        Running("pod is deleted", (0,), REPLACED, do=delete("worker")),
        Running("all pods are deleted", (0,), REPLACED, do=delete("worker", pods=None)),
        Running("pod is evicted", (0,), REPLACED, do=evict("worker")),
        Running("pod is deleted, no room for another", (0,), "exceeded quota",
                do=both(lambda place: place.limit(quota(2)), delete("worker"))),
        Closing("pods are deleted in the clean-up", (0,), WELL, do=delete("worker", pods=None)),
    ),
    "workers keep ending, or none is left": (
        Fault("each task ends its worker", (4,), "by the same cause, exit code 7", flow=DYING,
              cluster={**ONE, "allowedFailures": 1}),
        Running("no room for others", (4,), "all workers are gone, .*exceeded quota", cluster=SHORT,
                do=both(lambda place: place.limit(quota(1)), signal("worker", pods=None))),
        Fault("the only one is paused for memory", (4,), "paused", flow=HOARDING,
              cluster={**worker(resources={"limits": {"memory": "400Mi"}}), **ONE, **SHORT}),
    ),
    "a task kills its workers": (
        Fault("needs more memory than there is", (1,), f"KilledWorker.*{OOM}", flow=GREEDY, cluster=worker(**SMALL)),
        Fault("the same with a nanny", (1,), OOM, flow=GREEDY, cluster=worker(**NANNY, **SMALL)),
        Fault("the same by a LimitRange", (1,), OOM, flow=GREEDY, limits=SMALL_RANGE),
        Fault("exits", (1,), "KilledWorker.*exit code 7", flow=task("import os", "os._exit(7)")),
        Fault("exits, and none may", (1,), "KilledWorker.*exit code 7", flow=task("import os", "os._exit(7)"),
              values=env(DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0")),
        Fault("segmentation fault", (1,), "KilledWorker.*exit code 139",
              flow=task("import ctypes", "ctypes.string_at(0)")),
        Fault("fills its disk", (1,), "KilledWorker.*Evicted: Usage of EmptyDir volume .* exceeds", flow=FILLING,
              cluster={**SMALL_DISK, **ONE}, values=env(DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="1")),
    ),
    "the scheduler ends": (
        Running("is killed", (4, 0), SCHEDULER_KILLED, do=signal("runner", process=SCHEDULER), seconds=20),
        Running("is killed in its pod", (4, 0), SCHEDULER_LOST, values=OWN_SCHEDULER, seconds=20,
                do=signal("scheduler")),
        Running("its pod is deleted", (4, 0), SCHEDULER_LOST, values=OWN_SCHEDULER, do=delete("scheduler"), seconds=20),
        Running("is killed in a static cluster", (4, 0), CONNECTION_LOST, values=STATIC, do=signal("scheduler")),
        Fault("static cluster is nowhere", (3,), "no Dask scheduler at tcp://", cluster=NOTHING_LISTENS),
    ),
    # The flow's own
    "the flow fails": (
        Fault("task raises", (1,), "task main: ValueError: boom", flow=task("raise ValueError('boom')")),
        Fault("task calls sys.exit", (1,), "SystemExit: 3", flow=task("import sys", "sys.exit(3)")),
        Fault("flow calls sys.exit", (1,), "SystemExit: 3", flow="import sys\ndef main(): sys.exit(3)\n"),
        Fault("task hangs", (1,), "within --timeout 5 s", flow=task("import time", "time.sleep(3600)"),
              values=env(DASK_FLOW_TIMEOUT="5")),
        Fault("result cannot be pickled", (1,), "pickle", flow=task("import threading", "return threading.Lock()")),
        Fault("error cannot be pickled", (1,), "an odd error", flow=NO_PICKLE),
        Fault("error has no text", (1,), "the flow failed: .*Odd", flow=NO_TEXT),
        Fault("error has 5 MB of text", (1,), "ValueError: .*xxx", flow=task("raise ValueError('x' * 5_000_000)")),
        Fault("error has control characters", (1,), "ValueError: .*red",
              flow=task(r"raise ValueError('\x1b[31mred\x00\rblue')")),
    ),
    "texts and results": (
        Fault("task prints what is no text", (0,), r"caf.*\.csv", flow=printing(r"os.fsdecode(b'caf\xe9.csv')")),
        Fault("task prints a line of 1 MB", (0,), "xxx", flow=printing("'x' * 1_000_000")),
        Fault("result has no text", (0,), WELL, flow=NO_REPR, result=""),
        Fault("result of 200 MB", (0,), WELL,
              flow="def main(client): return len(client.submit(bytes, 205_400_000).result()) // 10_000\n"),
    ),
    # Attempts and limits of a run
    "the runner ends": (
        Running("is killed", (137, 0), "", do=signal("runner")),
        Running("is killed in the last attempt", (137,), "", do=signal("runner"), remains=True),
        Fault("needs more memory than it has", (137,), "OOMKilled", flow="def main(): return len(b'x' * 2**30)\n",
              values={"runner": SMALL}, remains=True),
        Closing("is killed in the clean-up after success", (137, 0), "the flow succeeded.+", do=signal("runner")),
        Running("its pod is deleted", (0,), WELL, do=delete("runner")),
        Running("its pod is evicted", (0,), WELL, do=evict("runner")),
        Running("all pods are deleted", (0,), WELL, do=kubectl("delete", "pods", "--all", "--wait=false")),
        Running("SIGTERM", (143, 0), SIGTERM, do=signal("runner", TERM)),
        Running("SIGINT", (130, 0), SIGINT, do=signal("runner", INT)),
        Running("SIGTERM twice", (143, 0), SIGTERM, do=twice(signal("runner", TERM))),
        Closing("SIGTERM in the clean-up after success", (0,), WELL, do=signal("runner", TERM)),
    ),
    "the Job": (
        Running("is deleted", (), "", do=kubectl("delete", "job", "run", "--wait=false"), outcome="gone"),
        Running("is suspended and resumed", (0,), WELL, do=suspend_and_resume),
        Fault("has a deadline", (), "DeadlineExceeded", flow=SQUARES.replace("0.5", "600"), outcome="failed",
              values={"run": {"activeDeadlineSeconds": 10}}),
        Running("is deleted with its namespace", (), "", do=delete_namespace, outcome="gone"),
    ),
    # It ails all that is on the node, so it comes by itself.
    "the API server is away": (
        Running("for a minute", (0,), WELL, flow=SQUARES.replace("0.5", "2"), do=without_api_server),
    ),
}
# fmt: on
