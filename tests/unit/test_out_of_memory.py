"""Workers that are paused, or were killed, for their memory: the run says so, and ends."""

import os

import dask
import pytest
from dask_flow import out_of_memory
from dask_flow.out_of_memory import Look, Standstill
from dask_flow.report.notify import Notifier
from dask_flow.run import run
from distributed import system
from waiting import eventually

PAUSED = """
import time
from distributed import wait

def load(size):
    return b"x" * size

def pause(dask_worker):
    dask_worker.memory_manager.memory_pause_fraction = 0.0001

def status(dask_worker):
    return dask_worker.status.name

def main(client):
    data = client.submit(load, 5_000_000)
    wait(data)
    client.run(pause)
    while set(client.run(status).values()) != {"paused"}:
        time.sleep(0.1)
    return client.submit(len, data).result()
"""
EATS = """
import time

def eat():
    eaten = [b"x" * 2**20 for _ in range(500)]
    time.sleep(60)

def main(client):
    client.submit(eat).result()
"""


def worker(status, **counts):
    return {"status": status, "metrics": {"task_counts": counts}}


def at(waits=True, **workers):
    return Look(workers, {"load": {"memory": 1}}, waits)


@pytest.mark.parametrize(
    ("look", "stands"),
    [
        (at(a=worker("paused", memory=2)), True),
        (at(a=worker("paused", ready=1), b=worker("paused")), True),
        (at(a=worker("paused", ready=1), b=worker("running", memory=1)), True),
        (at(a=worker("paused", executing=1)), False),
        (at(a=worker("paused", **{"long-running": 1})), False),  # a task that has seceded, as with worker_client
        (at(a=worker("paused"), b=worker("running", executing=1)), False),
        (at(a=worker("paused"), b=worker("running", fetch=1)), False),
        (at(a=worker("running", ready=1)), False),
        (at(a=worker("paused"), waits=False), False),
        (at(), False),
    ],
)
def test_only_paused_workers_that_nobody_helps_are_a_standstill(look, stands):
    standstill = Standstill()

    assert standstill.seconds(look, 100) == 0
    assert (standstill.seconds(look, 170) == 70) is stands


def test_standstill_begins_anew_when_a_task_has_ended_or_a_worker_goes_on():
    standstill, paused = Standstill(), {"a": worker("paused")}
    standstill.seconds(Look(paused, {"load": {"memory": 1}}, True), 0)

    assert standstill.seconds(Look(paused, {"load": {"memory": 1, "waiting": 9}}, True), 50) == 50
    assert standstill.seconds(Look(paused, {"load": {"memory": 2}}, True), 60) == 0
    assert standstill.seconds(Look(paused, {"load": {"memory": 2}}, True), 80) == 20
    assert standstill.seconds(Look({"a": worker("running")}, {"load": {"memory": 2}}, True), 90) == 0
    assert standstill.seconds(Look(paused, {"load": {"memory": 2}}, True), 95) == 0


def outcome_of(text, tmp_path, **options):
    (tmp_path / "flow.py").write_text(text)
    settings = {"target": str(tmp_path / "flow.py"), "max_workers": 1, "min_workers": 1, **options}
    outcome = run(settings, Notifier())
    eventually(lambda: "DASK_SCHEDULER_ADDRESS" not in os.environ, 60)  # a flow that was given up has ended
    return outcome


def test_flow_whose_workers_are_all_paused_ends_with_that_reason(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(out_of_memory, "LOOK_SECONDS", 0.5)
    monkeypatch.setattr(out_of_memory, "WARN_SECONDS", 1)

    outcome = outcome_of(PAUSED, tmp_path, startup_timeout=4.0, timeout=60.0)

    assert outcome.exit_code == 4
    assert "workers are paused because their memory is full: 0 has " in outcome.reason
    assert "the results that they hold are of load 4.77 MiB" in outcome.reason
    assert any(each.levelname == "WARNING" and "no task could run for" in each.message for each in caplog.records)


def test_worker_that_its_nanny_killed_for_memory_is_told_as_such(tmp_path):
    budget = 400 * 2**20 / system.MEMORY_LIMIT
    with dask.config.set({"distributed.scheduler.allowed-failures": 0, "distributed.worker.memory.terminate": budget}):
        outcome = outcome_of(EATS, tmp_path, timeout=60.0)

    assert outcome.exit_code == 1
    assert "KilledWorker" in outcome.reason
    assert "OOMKilled by its nanny" in outcome.reason
