"""What Dask believes that a worker may use, over limit, threads, workers and CPUs: with what the run's pods start."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import click
import psutil
import pytest
from dask.utils import parse_bytes
from dask_flow.clusters.plugins import register_plugins
from dask_flow.dask_cluster import dask_cluster
from dask_flow.manifests import RunIdentity, dask_pod
from dask_flow.settings import RunSettings
from dask_flow.specs import PodTemplate, Templates, parse_spec
from distributed import Client, LocalCluster, worker_memory
from distributed.cli import dask_worker
from waiting import eventually

NODE = psutil.virtual_memory().total
IDENTITY = RunIdentity(
    run="nightly", namespace="jobs", pod_name="nightly-x7k2p", pod_uid="u-1", pod_ip="10.0.0.7", image="flow:1"
)
# As a pod's process on a node of 16 CPUs, in a container of this limit, or of none.
ON_A_NODE = """
import sys
import dask.system
dask.system.CPU_COUNT = 16
import distributed.system
distributed.system.MEMORY_LIMIT = {limit}
sys.argv[0] = "{program}"
from distributed.cli.dask_worker import main
main()
"""


def container_of(spec, cluster="pods"):
    """The container that Dask is in, as the run makes it, or as the Dask operator gets it."""
    worker = parse_spec(spec, Path("worker_spec.yaml"))
    if cluster == "pods":
        settings = RunSettings(target="flow.py")
        containers = dask_pod(worker, "w-0", settings, IDENTITY, "tls://10.0.0.7:8786")["spec"]["containers"]
    else:
        settings = RunSettings(
            target="flow.py", cluster="operator", scheduler="pod", min_workers=2, max_workers=2, tls=False
        )
        scheduler = PodTemplate({"spec": {"containers": [{}]}}, "scheduler")
        containers = dask_cluster(Templates(worker, scheduler), settings, IDENTITY)["spec"]["worker"]["spec"][
            "containers"
        ]
    return next(each for each in containers if each["name"] == "worker")


def options(container):
    line = [*container.get("command", ()), *container["args"]]
    words = line[next(index for index, word in enumerate(line) if word.endswith("worker")) + 1 :]
    command = click.Command("worker", params=dask_worker.main.params)
    return command.make_context("dask worker", [word for word in words if word != "--"]).params


def spec(limit, nthreads, nworkers):
    args = ["dask", "worker", "--nthreads", str(nthreads)] + ["--nworkers", str(nworkers)] * (nworkers > 1)
    worker = f"{{name: worker, args: {args}, resources: {{limits: {{memory: {limit}}}}}}}"
    return f"spec: {{containers: [{{name: log}}, {worker}]}}"


@pytest.mark.parametrize("nworkers", [1, 2, 3])
@pytest.mark.parametrize("nthreads", [1, 4])
@pytest.mark.parametrize("limit", ["512Mi", "2Gi", "64Gi"])
def test_workers_share_their_containers_whole_limit_whatever_the_node(limit, nthreads, nworkers, monkeypatch):
    share = parse_bytes(f"{limit}B") / nworkers
    monkeypatch.setattr(worker_memory.system, "MEMORY_LIMIT", parse_bytes(f"{limit}B"))
    for cluster, cpus in itertools.product(["pods", "operator"], [1, 16, 64]):
        memory_limit = options(container_of(spec(limit, nthreads, nworkers), cluster))["memory_limit"]

        believed = worker_memory.parse_memory_limit(
            memory_limit, nthreads, total_cores=cpus, logger=worker_memory.worker_logger
        )

        assert believed == pytest.approx(share, abs=1), (cluster, cpus)


LIMIT = "resources: {limits: {memory: 2Gi}}"


@pytest.mark.parametrize(
    ("container", "memory_limit"),
    [
        (f"{{name: worker, {LIMIT}}}", "1.0"),
        (f"{{name: worker, {LIMIT}, args: [dask-worker, --nthreads, '1']}}", "1.0"),
        (f"{{name: worker, {LIMIT}, command: [dask, worker]}}", "1.0"),
        (f"{{name: worker, {LIMIT}, command: [dask, worker], args: [--nworkers=2]}}", "0.5"),
        (f"{{name: worker, {LIMIT}, args: [dask-worker, --memory-limit, 1GiB]}}", "1GiB"),
        (f"{{name: worker, {LIMIT}, args: [dask, worker, --memory-limit=0]}}", "0"),
        (f"{{name: worker, {LIMIT}, command: [dask, worker, --memory-limit, 1GiB], args: [--no-nanny]}}", "1GiB"),
        # dask-cuda starts a worker for each GPU, among which it divides the limit.
        (f"{{name: worker, {LIMIT}, args: [dask, cuda, worker]}}", "auto"),
        (f"{{name: worker, {LIMIT}, args: [dask-cuda-worker]}}", "auto"),
        # A script may have a limit of its own.
        (f"{{name: worker, {LIMIT}, args: [/opt/start-worker]}}", "auto"),
        # Until the container starts, nobody knows whether something gives it a limit.
        ("{name: worker}", "auto"),
        ("{name: worker, resources: {limits: {cpu: 1}, requests: {memory: 1Gi}}}", "auto"),
    ],
)
def test_what_a_command_line_says_of_memory_stays(container, memory_limit):
    made = container_of(f"spec: {{containers: [{container}]}}")
    line = [*made.get("command", ()), *made.get("args", ())]

    assert options({"args": line})["memory_limit"] == memory_limit


def test_shells_text_has_its_own_limit_or_gets_the_containers():
    for text, option in {
        'exec dask worker --memory-limit 1GiB "$@"': "--memory-limit 1GiB",
        'exec dask worker "$@"': "--memory-limit 1.0",
        "exec dask worker --nthreads 1": "--memory-limit 1.0",
    }.items():
        worker = f"{{name: worker, {LIMIT}, command: [sh, -c, '{text}', --], args: [--nthreads, '1']}}"
        made = container_of(f"spec: {{containers: [{worker}]}}")

        line = " ".join([*made["command"], *made["args"]])
        assert option in line
        assert line.count("--memory-limit") == 1


@pytest.fixture
def joined():
    """Start a worker's process on a node of 16 CPUs; return the memory limits that the scheduler hears of."""
    processes = []

    def start(*arguments, limit=NODE, request=0, program="dask-worker"):
        if "--preload" not in arguments:
            register_plugins(client)
        code = ON_A_NODE.format(limit=limit, program=program)
        process = subprocess.Popen(
            [sys.executable, "-c", code, cluster.scheduler_address, "--no-dashboard", *arguments],
            env={**os.environ, "DASK_FLOW_MEMORY_REQUEST": str(request)},
            stderr=subprocess.DEVNULL,
        )
        processes.append(process)

    with (
        LocalCluster(n_workers=0, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        start.client = client
        yield start
        for process in processes:
            process.kill()
            process.wait()


def limits(client):
    """What the scheduler believes, and what the workers do."""
    told = [each["memory_limit"] for each in client.scheduler_info(n_workers=-1)["workers"].values()]
    return [*told, *client.run(lambda dask_worker: dask_worker.memory_manager.memory_limit).values()]


PRELOAD = ("--preload", "dask_flow.clusters.preload", "--preload-nanny", "dask_flow.clusters.preload")


@pytest.mark.parametrize(
    ("arguments", "limit", "requested", "believed"),
    [
        (["--nthreads", "1", "--no-nanny"], 2**31, 0, 2**31),
        (["--nthreads", "1"], 2**31, 0, 2**31),
        (["--nthreads", "1", "--nworkers", "2"], 2**31, 2**20, 2**30),
        (["--nthreads", "1", "--no-nanny", "--memory-limit", "1GiB"], 2**31, 0, 2**30),
        (["--nthreads", "2", "--no-nanny"], NODE, 0, NODE // 8),
        (["--nthreads", "1", "--no-nanny"], NODE, NODE // 4, NODE // 4),
        (["--nthreads", "1", "--no-nanny"], NODE, 2**20, NODE // 16),
        # A static cluster's.
        (["--nthreads", "1", "--no-nanny", *PRELOAD], 2**31, 0, 2**31),
        (["--nthreads", "1", "--nworkers", "2", *PRELOAD], NODE, NODE // 4, NODE // 8),
    ],
)
def test_worker_without_a_word_of_memory_takes_what_its_container_has(joined, arguments, limit, requested, believed):
    joined(*arguments, limit=limit, request=requested)
    count = 2 if "--nworkers" in arguments else 1
    joined.client.wait_for_workers(count, timeout=60)

    eventually(lambda: limits(joined.client) == [pytest.approx(believed, abs=1)] * 2 * count)


def test_workers_of_dask_cuda_keep_the_share_of_their_gpu(joined):
    joined("--nthreads", "1", limit=2**31, program="/opt/bin/dask-cuda-worker")
    joined.client.wait_for_workers(1, timeout=60)

    assert limits(joined.client) == [2**27] * 2
