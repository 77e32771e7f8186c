"""A Dask cluster of processes on this machine, for the tests of the engine."""

import pytest
from dask_flow.executors import DaskExecutor
from distributed import Client, LocalCluster


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    with Client(cluster) as client:
        yield client


@pytest.fixture
def executor(cluster):
    return DaskExecutor(address=cluster.scheduler_address)
