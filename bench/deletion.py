"""Job deleted → all of its pods terminating → all gone, in the middle of a flow with two workers.

Needs helm, KUBECONFIG, and a cluster that has the image.
"""

from __future__ import annotations

import time

from cluster import install, kubectl, namespace, parser, start
from kubernetes import client, config, watch
from table import Limit, judge

NAMESPACE = "dask-flow-deletion"
TIMEOUT_SECONDS = 120
FLOW = """
import time
def main(client):
    client.wait_for_workers(2)
    client.map(time.sleep, [600] * 2)
    time.sleep(1)
    print("busy", flush=True)
    time.sleep(600)
"""


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--runs", type=int, default=5, help="how many Jobs are deleted")
    options = arguments.parse_args()
    config.load_kube_config()
    with namespace(NAMESPACE):
        cluster = {"minWorkers": 2, "maxWorkers": 2}
        install(NAMESPACE, options.image, {"cluster": cluster, "flow": {"files": {"flow.py": FLOW}}})
        figures = [deletion(f"run-{number}") for number in range(options.runs)]
    metrics = ("Job deleted → all pods terminating (s)", "Job deleted → all gone (s)")
    samples = {
        ("dask-flow", metric): list(values) for metric, values in zip(metrics, zip(*figures, strict=True), strict=True)
    }
    judge(samples, [Limit(("dask-flow", metrics[0]), 3)], options.json)


def deletion(name: str) -> tuple[float, float]:
    """Start a run, delete its Job when its workers are busy, and return both times in seconds."""
    core = client.CoreV1Api()
    start(NAMESPACE, name)
    busy(name)
    pods = core.list_namespaced_pod(NAMESPACE)
    names = {pod.metadata.name for pod in pods.items}
    terminating: set[str] = set()
    began = time.monotonic()
    client.BatchV1Api().delete_namespaced_job(name, NAMESPACE, propagation_policy="Background")
    all_terminating = 0.0
    for event in watch.Watch().stream(
        core.list_namespaced_pod,
        NAMESPACE,
        resource_version=pods.metadata.resource_version,
        timeout_seconds=TIMEOUT_SECONDS,
    ):
        pod = event["object"].metadata
        if pod.deletion_timestamp:
            terminating.add(pod.name)
        if event["type"] == "DELETED":
            names.discard(pod.name)
        if not all_terminating and terminating >= names:
            all_terminating = time.monotonic() - began
        if not names:
            return all_terminating, time.monotonic() - began
    raise SystemExit(f"{name} was not gone within {TIMEOUT_SECONDS} s; there are still {', '.join(names)}")


def busy(name: str) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while "busy" not in kubectl("logs", "-n", NAMESPACE, f"job/{name}", check=False):
        if time.monotonic() > deadline:
            raise SystemExit(f"{name} had no workers within {TIMEOUT_SECONDS} s")
        time.sleep(0.2)


if __name__ == "__main__":
    main()
