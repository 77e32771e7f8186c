"""When a scheduler in a pod of its own, without the Dask operator, ends itself."""

import os
import subprocess
import sys
import time

import pytest
from dask_flow.clusters.plugins import register_plugins
from distributed import Client

IDLE_SECONDS = 2


@pytest.fixture
def scheduler(tmp_path):
    """A scheduler in a process of its own, that ends when it was idle for a while."""
    file = tmp_path / "scheduler.json"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard"]
    environment = os.environ | {"DASK_DISTRIBUTED__SCHEDULER__IDLE_TIMEOUT": f"{IDLE_SECONDS} s"}
    process = subprocess.Popen(
        [*command, "--scheduler-file", file, "--dashboard-address", ":0"], env=environment, stderr=subprocess.DEVNULL
    )
    yield process, file
    process.kill()
    process.wait()


def test_scheduler_that_no_runner_came_to_ends(scheduler):
    process, _ = scheduler

    assert process.wait(30) == 0


def test_idle_scheduler_of_a_living_runner_stays(scheduler):
    process, file = scheduler
    with Client(scheduler_file=file) as runner:
        register_plugins(runner)

        time.sleep(2 * IDLE_SECONDS)

        assert process.poll() is None
