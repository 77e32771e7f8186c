"""An API server in memory for the tests of the commands that talk to one."""

import sys

import pytest
from api_server import Api, kubeconfig, served
from click.testing import CliRunner
from dask_flow import cli, log
from dask_flow.user_kube import UserKube


@pytest.fixture
def api():
    return Api()


@pytest.fixture
def cluster(api, tmp_path, monkeypatch):
    """Serve `api`, and have a kubeconfig that leads there; its namespace is `jobs`."""
    with served(api) as url:
        path = tmp_path / "kubeconfig"
        path.write_text(kubeconfig(url))
        monkeypatch.setenv("KUBECONFIG", str(path))
        yield api


@pytest.fixture
def kube(cluster):
    return UserKube.from_kubeconfig()


@pytest.fixture
def dask_flow(cluster, monkeypatch, tmp_path):
    """Call a command in this process."""
    monkeypatch.setattr(log, "configure", str)  # the log of the tests stays as it is
    monkeypatch.setattr(sys, "path", sys.path[:])

    def call(*arguments, **options):
        return CliRunner().invoke(cli.cli, [*map(str, arguments)], **options)

    before = set(sys.modules)
    yield call
    for name in set(sys.modules) - before:  # flows were imported
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
