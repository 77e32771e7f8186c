"""What a temporary cluster's processes do: a scheduler in a pod of its own ends itself, workers hand over."""

import os
import signal
import subprocess
import sys
import time

import pytest
from dask_flow.clusters.plugins import register_plugins
from distributed import Client, LocalCluster
from waiting import eventually

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


def test_worker_that_cannot_hand_over_is_warned_of_once(caplog):
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        register_plugins(client)
        result = client.submit(os.getpid)

        os.kill(result.result(), signal.SIGTERM)

        def tries():
            return sum(event["action"] == "retire-workers" for _, event in client.get_events("all"))

        eventually(lambda: tries() > 2, 60)
        warnings = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]

    assert [text.partition(" worker ")[0] for text in warnings if "retir" in text] == ["Tried retiring"]
