"""What the scheduler and the workers of the Dask operator's clusters are taught."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

import psutil
import pytest
from dask_flow.clusters import plugins
from dask_flow.clusters.plugins import let_go, register_plugins
from dask_flow.manifests import dask_configuration
from dask_flow.settings import RunSettings
from distributed import Client, LocalCluster

SCHEDULER = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", "--dashboard-address", ":0"]


@pytest.fixture
def scheduler(tmp_path):
    """A scheduler in a process of its own, as in a pod."""
    file = tmp_path / "scheduler.json"
    routes = dask_configuration(RunSettings(target="f", cluster="operator"))
    process = subprocess.Popen(
        [*SCHEDULER, "--no-dashboard", "--scheduler-file", file], env=os.environ | routes, stderr=subprocess.DEVNULL
    )
    yield process, file
    process.kill()
    process.wait()


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_scheduler_is_not_idle_while_the_runner_is_there(scheduler, monkeypatch):
    monkeypatch.setattr(plugins, "AWAKE_SECONDS", 0.1)
    _, file = scheduler

    with Client(scheduler_file=file) as runner:
        port = runner.scheduler_info()["services"]["dashboard"]

        def idle_seconds():
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/check_idle") as answer:
                return time.time() - json.load(answer)["idle_since"]

        wait_for(lambda: idle_seconds() > 1)
        register_plugins(runner, operated=True)
        wait_for(lambda: idle_seconds() < 0.5)
    wait_for(lambda: idle_seconds() > 1)


def test_scheduler_ends_at_once_when_it_is_told_to(scheduler):
    process, file = scheduler
    with Client(scheduler_file=file) as runner:
        register_plugins(runner, operated=True)

        process.send_signal(signal.SIGTERM)

        assert process.wait(10) == 0


def test_busy_worker_ends_at_once_when_the_run_is_over():
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        register_plugins(client, operated=True)
        worker = psutil.Process(client.submit(os.getpid).result())
        busy = client.submit(time.sleep, 600)
        wait_for(lambda: any(client.processing().values()))

        let_go(client)
        worker.terminate()

        worker.wait(10)
        busy.cancel()
