"""Prefect 3 and Prefect 1 flows on worker pods, with TLS, in images that have the real packages."""

import os
import re

import pytest
from namespaces import ROOT, flow

IMAGES = {
    version: os.environ.get(f"DASK_FLOW_TEST_PREFECT{version}_IMAGE", f"localhost/dask-flow-prefect{version}:dev")
    for version in (1, 3)
}

HOSTS = {
    1: """
import socket, time
from distributed import get_worker
from prefect import Flow, task

@task(log_stdout=True)
def host(x):
    time.sleep(0.2)
    print(f"from {socket.gethostname()}")
    return socket.gethostname(), get_worker().scheduler.address.partition(":")[0]

@task
def hosts(found):
    return " ".join(sorted(f"{name}/{protocol}" for name, protocol in set(found)))

with Flow("hosts") as flow:
    hosts(host.map(list(range(8))))
""",
    3: """
import socket, time
from distributed import get_worker
from prefect import flow, task

@task(log_prints=True, tags=["of a limit that there is not"])
def host(x):
    time.sleep(0.2)
    print(f"from {socket.gethostname()}")
    return socket.gethostname(), get_worker().scheduler.address.partition(":")[0]

@flow
async def hosts():
    found = host.map(range(8)).result()
    return " ".join(sorted(f"{name}/{protocol}" for name, protocol in set(found)))
""",
}
FAILING = {
    1: """
from prefect import Flow, task

@task
def picky(x):
    if x == 2:
        raise ValueError(f"no {x}")

with Flow("failing") as flow:
    picky.map([1, 2, 3])
""",
    3: """
from prefect import flow, task

@task
def picky(x):
    if x == 2:
        raise ValueError(f"no {x}")

@flow
def failing():
    picky.map([1, 2, 3]).result()
""",
}


@pytest.mark.parametrize("version", [1, 3])
def test_prefect_flow_runs_its_tasks_on_worker_pods(namespace, version):
    namespace.install(image=IMAGES[version], flow=flow(HOSTS[version]), cluster={"minWorkers": 2, "maxWorkers": 2})

    end = namespace.finish(namespace.start())

    assert (end.exit_code, end.reason) == (0, "the flow succeeded"), end.log
    found = re.search(r"result of hosts: (.*)", end.log)[1].split()
    assert set(found) <= {f"{end.pod}-worker-0/tls", f"{end.pod}-worker-1/tls"}
    for name in found:
        assert re.search(rf"task host\S*: from {name.removesuffix('/tls')}\n", end.log)
    assert namespace.workers() == []


@pytest.mark.parametrize("version", [1, 3])
def test_prefect_example_runs_with_a_parameter(namespace, version):
    text = (ROOT / f"examples/prefect{version}_flow.py").read_text()
    namespace.install(image=IMAGES[version], flow=flow(text, params={"limit": 9.5}))

    end = namespace.finish(namespace.start())

    assert end.exit_code == 0, end.log
    assert re.search(r"result of \w+: warm: Oslo, Lima, Singapore", end.log)
    assert re.search(r"warm: \d tasks, .* on [\w-]+-worker-\d", end.log)


@pytest.mark.parametrize(("version", "task"), [(1, r"picky\[1\]"), (3, r"picky-\w+")])
def test_failing_prefect_flow_names_the_task(namespace, version, task):
    namespace.install(image=IMAGES[version], flow=flow(FAILING[version]))

    end = namespace.finish(namespace.start())

    assert end.exit_code == 1, end.log
    assert re.fullmatch(rf"the flow failed: task {task}: ValueError: no 2", end.reason)
    assert re.search(rf"error: task {task}: .*\n(.*\n)*ValueError: no 2", end.log)
