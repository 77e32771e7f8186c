"""A Dask cluster with TLS whose workers are processes, and the command; each test runs beside the real Prefect."""

import os
import subprocess
import sys
import textwrap

import pytest
from distributed import Client, LocalCluster, Security


@pytest.fixture(scope="session", autouse=True)
def _prefect_home(tmp_path_factory):
    """Workers and commands inherit a folder of the tests' own, where Prefect 3 keeps its database."""
    home = tmp_path_factory.mktemp("prefect")
    os.environ.update({"PREFECT_HOME": str(home), "DASK_DISTRIBUTED__SCHEDULER__DASHBOARD_ADDRESS": ":0"})


@pytest.fixture(scope="session")
def client(_prefect_home):
    security = Security.temporary()
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, security=security, protocol="tls://", dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        client.run(_note_connections)
        yield client


def _note_connections():
    """Keep the ports that this worker's process connects to, by whichever library."""

    def note(event, args):
        if event == "socket.connect" and isinstance(args[1], tuple):
            sys.dask_flow_ports.add(args[1][1])

    sys.dask_flow_ports = set()
    sys.addaudithook(note)


@pytest.fixture
def connections(client):
    """Return a function that tells which ports workers' processes connected to, other than the cluster's own."""

    def found():
        workers = client.sync(client.scheduler.identity, n_workers=-1)["workers"]
        own = [client.scheduler.address, *workers, *(each["nanny"] for each in workers.values())]
        met = set().union(*client.run(lambda: sys.dask_flow_ports).values())
        assert met, "the audit hook saw nothing"
        return met - {_port(address) for address in own}

    return found


def _port(address):
    return int(address.rpartition(":")[2])


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Return a function that writes a flow's file."""
    monkeypatch.setattr(sys, "path", list(sys.path))

    def file(text):
        path = tmp_path / "flow.py"
        path.write_text(textwrap.dedent(text))
        return path

    return file


@pytest.fixture
def dask_flow():
    """Return a function that runs the command, which here has a cluster of its own."""

    def run(*args, **env):
        command = [sys.executable, "-m", "dask_flow", *map(str, args)]
        return subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, **env}, check=False, timeout=120
        )

    return run
