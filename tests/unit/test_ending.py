"""How a run ends: its reason is kept before anything is cleaned up, and the clean-up is never broken off."""

import os
import signal
import threading
from contextlib import suppress

import psutil
import pytest
from dask_flow.report.notify import Notifier
from dask_flow.run import run
from kubelet import in_cluster
from waiting import eventually

QUOTA = "exceeded quota: small"
DELETED = [("DELETE", "pods", None), ("DELETE", "secrets", None)]


@pytest.fixture
def cluster(monkeypatch, tmp_path, caplog):
    with in_cluster(monkeypatch, tmp_path) as made:
        made.log = caplog
        yield made


def outcome(tmp_path, text="def main(): ...\n", **given):
    path = tmp_path / "flow_of_the_end.py"
    path.write_text(text)
    return run({"target": str(path), "cluster": "pods", **given}, Notifier())


def deletions(cluster):
    return [asked for asked in cluster.asked if asked[0] == "DELETE"]


@pytest.mark.parametrize("signals", [0, 1, 3])
def test_start_that_failed_keeps_its_reason_and_its_cleanup_when_a_signal_comes(cluster, tmp_path, signals):
    messages = []
    cluster.refusals["POST", "pods"] = (403, QUOTA)

    def told_to_end(_):
        messages.append(cluster.message.read_text())
        for _ in range(signals):
            os.kill(os.getpid(), signal.SIGTERM)

    cluster.on["DELETE", "pods"] = lambda path: len(cluster.asked) > 3 and told_to_end(path)

    ended = outcome(tmp_path)

    assert (ended.exit_code, QUOTA in ended.reason) == (3, True)
    assert messages[0] == ended.reason
    assert cluster.message.read_text() == ended.reason
    assert set(DELETED) <= set(deletions(cluster)[1:])


def test_success_is_told_with_the_cleanup_until_that_is_over_and_a_signal_shortens_it(cluster, tmp_path):
    messages, cluster.stuck = [], True

    def told_to_end(_):
        messages.append(cluster.message.read_text())
        os.kill(os.getpid(), signal.SIGTERM)

    # The clean-up lists the pods when it has asked for their end, and waits; these never go.
    cluster.on["GET", "pods"] = lambda path: len(deletions(cluster)) > 1 and told_to_end(path)

    ended = outcome(tmp_path, "def main(client): return client.submit(abs, -1).result()\n", tls=False)

    assert (ended.exit_code, ended.reason) == (0, "the flow succeeded")
    assert messages[0] == "the flow succeeded; the runner was killed while it cleaned up"
    assert cluster.message.read_text() == "the flow succeeded"
    assert "told to end while it cleaned up: Kubernetes does the rest" in cluster.log.messages
    assert "still being deleted" not in cluster.log.text


def test_dead_scheduler_is_not_asked_and_no_pod_is_made_when_the_cluster_is_lost(cluster, tmp_path):
    running, over, thawed = tmp_path / "running", tmp_path / "over", threading.Event()
    text = "import pathlib, time\ndef main(client):\n    client.submit(abs, -1).result()\n"
    text += f"    pathlib.Path({str(running)!r}).touch()\n"
    text += f"    while not pathlib.Path({str(over)!r}).exists():\n        time.sleep(0.1)\n"

    def freeze_the_scheduler_and_kill_the_worker():
        eventually(running.exists, 60)
        (worker,) = cluster.processes.values()
        (scheduler,) = (each for each in psutil.Process().children() if "spawn_main" in " ".join(each.cmdline()))
        scheduler.suspend()  # its connections stay, so nobody knows yet that it is dead
        worker.kill()
        with suppress(psutil.TimeoutExpired, psutil.NoSuchProcess):
            scheduler.wait(60)
            return
        thawed.set()
        scheduler.resume()

    thread = threading.Thread(target=freeze_the_scheduler_and_kill_the_worker)
    thread.start()
    ended = outcome(tmp_path, text, tls=False, min_workers=1, max_workers=1, allowed_failures=0)
    thread.join()
    over.touch()
    eventually(lambda: "DASK_SCHEDULER_ADDRESS" not in os.environ, 60)  # the flow was given up, and ends now

    assert not thawed.is_set()
    assert ended.exit_code == 4
    assert ended.reason.startswith("1 worker pods ended by the same cause, exit code")
    assert len(cluster.processes) == 1


def test_cluster_that_hears_no_more_of_its_workers_is_lost(cluster, tmp_path):
    over = tmp_path / "over"
    text = f"""
import pathlib, time
def main(client):
    client.cluster.loop.add_callback(client.cluster._watch_worker_status_comm.abort)
    while not pathlib.Path({str(over)!r}).exists():
        time.sleep(0.1)
"""

    ended = outcome(tmp_path, text, tls=False, timeout=60.0)
    over.touch()
    eventually(lambda: "DASK_SCHEDULER_ADDRESS" not in os.environ, 60)

    assert ended.exit_code == 4
    assert ended.reason == "the connection to the Dask scheduler that tells of its workers broke off"
