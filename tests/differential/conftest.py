"""The executors that flows run on here."""

import pytest
from dask_flow.executors import DaskExecutor, LocalDaskExecutor, LocalExecutor
from distributed import LocalCluster


@pytest.fixture(scope="session")
def cluster():
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        yield cluster


@pytest.fixture(scope="session", params=["local", "threads"])
def executor_here(request):
    return _here(request.param)


@pytest.fixture(scope="session", params=["local", "threads", "cluster"])
def executor(request):
    if request.param == "cluster":
        return DaskExecutor(address=request.getfixturevalue("cluster").scheduler_address)
    return _here(request.param)


def _here(name):
    return LocalExecutor() if name == "local" else LocalDaskExecutor(scheduler="threads", num_workers=4)
