"""Job created → first task done, last task done → all gone: this chart's Jobs, KubeCluster in a Job, and DaskJob.

Two workers each; the peers have but one task.

The chart's Jobs are of three modes: pods (`dask-flow`, and `reported`, which writes a report), operator and static.

Needs helm, KUBECONFIG, and a cluster that has the image. Installs the Dask operator from the dask-kubernetes wheel for
the time of the benchmark. The peers get the commands without which they do not start with today's distributed.
All gone: the last pod but the Job's own is deleted.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from cluster import MEBIBYTES, install, kubectl, parser, start
from kubernetes import client, config, utils, watch
from table import Limit, judge

NAMESPACE = "dask-flow-bench"
CRDS = [f"dask{kind}.kubernetes.dask.org" for kind in ("clusters", "workergroups", "jobs", "autoscalers")]
DASK_JOBS = ("kubernetes.dask.org", "v1", NAMESPACE, "daskjobs")
WORKERS = 2
TIMEOUT_SECONDS = 120
ATTEMPTS = 5
FIRST = "first task (s)"
GONE = "last task → all gone (s)"
LIMITS = [
    Limit(("dask-flow", FIRST), ("KubeCluster", FIRST), 0.45),
    Limit(("dask-flow", FIRST), ("DaskJob", FIRST), 0.5),
    Limit(("operator", FIRST), ("KubeCluster", FIRST)),
    Limit(("static", FIRST), 2),
    Limit(("dask-flow", GONE), 2),
]
# Ours: the release and its values.
RELEASES: dict[str, tuple[str, dict[str, Any]]] = {
    "dask-flow": ("bench", {"cluster": {"mode": "pods"}}),
    "reported": ("reported", {"cluster": {"mode": "pods"}, "report": {"url": "/tmp/reports"}}),  # noqa: S108 - a pod's
    "operator": ("operator", {"cluster": {"mode": "operator"}}),
    "static": ("static", {"cluster": {"mode": "static"}, "static": {"enabled": True, "worker": {"replicas": WORKERS}}}),
}

# When the first task and the last were done, by the clock of the node that all run on, and the runner's memory.
FLOW = (
    f"{MEBIBYTES}\nimport time\n"
    """
def main(client):
    done = client.submit(time.time).result()
    client.wait_for_workers(2)
    last = client.submit(time.time, pure=False).result()
    return f"first-task {done} last-task {last} memory {mebibytes()}"
"""
)
CLIENT = """
import os, time
from distributed import Client
with Client(os.environ["DASK_SCHEDULER_ADDRESS"]) as client:
    print("first-task", client.submit(time.time).result(), flush=True)
"""
KUBECLUSTER = """
import time
from dask_kubernetes.operator import KubeCluster
from distributed import Client
kwargs = {"custom_cluster_spec": SPEC, "namespace": NAMESPACE, "quiet": True, "resource_timeout": 20}
with KubeCluster(**kwargs) as cluster, Client(cluster) as client:
    print("first-task", client.submit(time.time).result(), flush=True)
"""


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--runs", type=int, default=5, help="how often each is started")
    options = arguments.parse_args()
    config.load_kube_config()
    with installed(options.image):
        samples = measure(contenders(options.image), options.runs)
    judge(samples, LIMITS, options.json)


def contenders(image: str) -> dict[str, Callable[[str], None]]:
    """Return how each is started: a function of the run's name."""
    batch, custom = client.BatchV1Api(), client.CustomObjectsApi()

    def kube_cluster(name: str) -> None:
        script = f"SPEC, NAMESPACE = {cluster_spec(name, image)!r}, {NAMESPACE!r}" + KUBECLUSTER
        spec = pod_spec(image, ["python", "-c", script]) | {"serviceAccountName": "operator"}
        job = {"metadata": {"name": name}, "spec": {"backoffLimit": 0, "template": {"spec": spec}}}
        batch.create_namespaced_job(NAMESPACE, job)

    def dask_job(name: str) -> None:
        custom.create_namespaced_custom_object(*DASK_JOBS, dask_job_of(name, image))

    ours = {what: partial(start, NAMESPACE, release=release) for what, (release, _) in RELEASES.items()}
    return {**ours, "KubeCluster": kube_cluster, "DaskJob": dask_job}


def pod_spec(image: str, args: list[str]) -> dict[str, Any]:
    container = {"name": "runner", "image": image, "imagePullPolicy": "IfNotPresent", "args": args}
    return {"restartPolicy": "Never", "containers": [container]}


def cluster_spec(name: str, image: str) -> dict[str, Any]:
    """Return the peers' cluster, with commands that today's distributed has."""
    from dask_kubernetes.operator import make_cluster_spec

    spec: dict[str, Any] = make_cluster_spec(name, image=image, n_workers=WORKERS, worker_command="dask worker")
    spec["spec"]["scheduler"]["spec"]["containers"][0]["args"] = ["dask", "scheduler", "--host", "0.0.0.0"]  # noqa: S104
    return spec


def dask_job_of(name: str, image: str) -> dict[str, Any]:
    job = {"spec": pod_spec(image, ["python", "-c", CLIENT])}
    return {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskJob",
        "metadata": {"name": name},
        "spec": {"job": job, "cluster": {"spec": cluster_spec(name, image)["spec"]}},
    }


def measure(start: dict[str, Callable[[str], None]], runs: int) -> dict[tuple[str, str], list[float]]:
    """Start each in turn, `runs` times after one that does not count. A start that fails is counted and repeated."""
    samples: dict[tuple[str, str], list[float]] = {(what, "starts that failed"): [0] for what in start}
    for run in range(runs + 1):
        for what, begin in start.items():
            figures: dict[str, float] = {}
            for attempt in range(ATTEMPTS):
                name = f"{what.lower()}-{run}-{attempt}"
                figures = one_run(name, begin)
                if figures:
                    break
                samples[what, "starts that failed"][0] += 1
                restart_operator()  # it may have missed an event, and would go on to
            else:
                raise SystemExit(f"{what} failed {ATTEMPTS} times one after another")
            print(f"# {name}: {figures}", flush=True)
            for metric, value in figures.items() if run else ():
                samples.setdefault((what, metric), []).append(value)
    return samples


def one_run(name: str, begin: Callable[[str], None]) -> dict[str, float]:
    """Return the figures of one run, none if it failed."""
    version = client.CoreV1Api().list_namespaced_pod(NAMESPACE).metadata.resource_version
    started = time.time()
    begin(name)
    runner, gone = follow(name, version)
    log = client.CoreV1Api().read_namespaced_pod_log(runner, NAMESPACE)
    delete(name)
    found = re.search(r"first-task (?P<first>[\d.]+)(?: last-task (?P<last>[\d.]+) memory (?P<memory>[\d.]+))?", log)
    if not found:
        print(f"# {name} failed: {log.splitlines()[-1]}", flush=True)
        return {}
    figures = {FIRST: float(found["first"]) - started, GONE: gone - float(found["last"] or found["first"])}
    if found["memory"]:
        figures["runner's memory (MiB)"] = float(found["memory"])
    return figures


def follow(name: str, version: str) -> tuple[str, float]:
    """Wait until the run's own pod has ended and every other is deleted; return its name and the last deletion.

    A run that makes no pods is all gone when it has ended.
    """
    runner, ended, others, gone = "", False, set(), 0.0
    for event in watch.Watch().stream(
        client.CoreV1Api().list_namespaced_pod, NAMESPACE, resource_version=version, timeout_seconds=TIMEOUT_SECONDS
    ):
        pod = event["object"]
        if not pod.metadata.name.startswith(name):
            continue
        if any(container.name == "runner" for container in pod.spec.containers):
            runner, ended = pod.metadata.name, pod.status.phase in ("Succeeded", "Failed")
            if ended and not gone:
                gone = time.time()
        elif event["type"] == "DELETED":
            others.discard(pod.metadata.name)
            gone = time.time()
        else:
            others.add(pod.metadata.name)
        if ended and not others:
            return runner, gone
    raise SystemExit(
        f"{name} was not over within {TIMEOUT_SECONDS} s; there are still {', '.join(others) or 'no pods'}"
    )


def delete(name: str) -> None:
    jobs = client.CustomObjectsApi().list_namespaced_custom_object(*DASK_JOBS)
    if any(job["metadata"]["name"] == name for job in jobs["items"]):
        client.CustomObjectsApi().delete_namespaced_custom_object(*DASK_JOBS, name)
        return
    client.BatchV1Api().delete_namespaced_job(name, NAMESPACE, propagation_policy="Background")


@contextmanager
def installed(image: str) -> Iterator[None]:
    """Install the chart's release and the operator in a namespace of their own, and remove all afterwards."""
    if any(kubectl("get", "crd", name, "--ignore-not-found") for name in CRDS):
        raise SystemExit(
            "the Dask operator is installed already, and this benchmark would remove it; use another cluster"
        )
    kubectl("create", "namespace", NAMESPACE)
    try:
        for release, values in RELEASES.values():
            cluster = {"minWorkers": WORKERS, "maxWorkers": WORKERS, **values["cluster"]}
            given = {**values, "cluster": cluster, "flow": {"files": {"flow.py": FLOW}}}
            install(NAMESPACE, image, given, release)
        kubectl("rollout", "status", "deployment", "-n", NAMESPACE, "--timeout=120s")
        install_operator(image)
        yield
    finally:
        remove()


def remove() -> None:
    """Delete all that was installed, as far as it was."""
    kubectl("delete", "deployment,pods", "-n", NAMESPACE, "-l", "app=operator", "--ignore-not-found")
    for name in CRDS:
        for item in kubectl("get", name, "-n", NAMESPACE, "-o", "name", check=False).split():
            # The operator, who would let it go, is gone.
            kubectl(
                "patch", item, "-n", NAMESPACE, "--type=merge", "-p", '{"metadata": {"finalizers": null}}', check=False
            )
    kubectl("delete", "clusterrolebinding", NAMESPACE, "--ignore-not-found")
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    kubectl("delete", "--ignore-not-found", "-f", str(crds()))
    kubectl("wait", "--for=delete", f"namespace/{NAMESPACE}", "--timeout=60s")


def crds() -> Path:
    return Path(str(files("dask_kubernetes"))) / "operator/deployment/helm/dask-kubernetes-operator/crds"


def install_operator(image: str) -> None:
    kubectl("apply", "-f", str(crds()))
    for name in CRDS:
        kubectl("wait", "--for=condition=Established", f"crd/{name}")
    kubectl("create", "serviceaccount", "operator", "-n", NAMESPACE)
    account = f"--serviceaccount={NAMESPACE}:operator"
    kubectl("create", "clusterrolebinding", NAMESPACE, "--clusterrole=cluster-admin", account)
    kopf = [
        "kopf",
        "run",
        "--all-namespaces",
        "--liveness=http://0.0.0.0:8080/healthz",
        "-m",
        "dask_kubernetes.operator.controller",
    ]
    spec = pod_spec(image, kopf) | {"serviceAccountName": "operator", "restartPolicy": "Always"}
    spec["containers"][0]["readinessProbe"] = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1}
    labels = {"app": "operator"}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "operator", "namespace": NAMESPACE, "labels": labels},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}},
    }
    utils.create_from_dict(client.ApiClient(), deployment)
    kubectl("rollout", "status", "deployment/operator", "-n", NAMESPACE, "--timeout=120s")


def restart_operator() -> None:
    kubectl("rollout", "restart", "deployment/operator", "-n", NAMESPACE)
    kubectl("rollout", "status", "deployment/operator", "-n", NAMESPACE, "--timeout=120s")


if __name__ == "__main__":
    main()
