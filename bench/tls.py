"""What mutual TLS costs: short tasks a second, and data a second between two workers, with and without it.

Needs helm, KUBECONFIG, and a cluster that has the image. Nothing else should run on the machine.
"""

from __future__ import annotations

import re

from cluster import install, kubectl, namespace, parser, start
from kubernetes import config
from table import Limit, judge

NAMESPACE = "dask-flow-tls"
FLOW = """
import statistics
import time

def increment(n):
    return n + 1

def block(n, mebibytes):
    return bytes(mebibytes << 20)

def rate(amount, work):
    started = time.perf_counter()
    work()
    return amount / (time.perf_counter() - started)

def main(client, tasks=3000, rounds=3, blocks=10, mebibytes=20):
    client.wait_for_workers(2)
    one, other = client.nthreads()
    count = lambda: client.gather(client.map(increment, range(tasks), pure=False))

    def move():
        there = client.map(block, range(blocks), mebibytes=mebibytes, pure=False, workers=[one])
        here = client.map(len, there, pure=False, workers=[other], allow_other_workers=False)
        client.gather(here)

    count(), move()
    print("tasks", statistics.median(rate(tasks, count) for _ in range(rounds)))
    print("data", statistics.median(rate(blocks * mebibytes, move) for _ in range(rounds)), flush=True)
"""


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--runs", type=int, default=5, help="how often each is run")
    options = arguments.parse_args()
    config.load_kube_config()
    with namespace(NAMESPACE):
        for release in ("tls", "plain"):
            cluster = {"minWorkers": 2, "maxWorkers": 2, "tls": release == "tls"}
            install(NAMESPACE, options.image, {"cluster": cluster, "flow": {"files": {"flow.py": FLOW}}}, release)
        samples = measure(options.runs)
    judge(samples, [Limit(("tls", "tasks/s"), ("plain", "tasks/s"), 0.9, least=True)], options.json)


def measure(runs: int) -> dict[tuple[str, str], list[float]]:
    """Run both in turn."""
    samples: dict[tuple[str, str], list[float]] = {}
    for number in range(runs):
        for release in ("tls", "plain"):
            name = f"{release}-{number}"
            start(NAMESPACE, name, release)
            kubectl("wait", "-n", NAMESPACE, "--for=condition=Complete", f"job/{name}", "--timeout=240s")
            log = kubectl("logs", "-n", NAMESPACE, f"job/{name}")
            for what, unit in (("tasks", "tasks/s"), ("data", "MiB/s")):
                found = re.search(rf"^{what} ([\d.]+)$", log, re.MULTILINE)
                if not found:
                    raise SystemExit(f"{name} printed no {what}:\n{log}")
                samples.setdefault((release, unit), []).append(float(found[1]))
            figures = {unit: values[-1] for (what, unit), values in samples.items() if what == release}
            print(f"# {name}: {figures}", flush=True)
    return samples


if __name__ == "__main__":
    main()
