"""The report of a run on temporary clusters, on a volume that outlives them; its worker logs are there without pods."""

import json
import shlex
import sys

import pytest
from namespaces import OWN_NODE, ROOT, SLOW, flow, run

pytestmark = OWN_NODE  # the volume is a folder of the node, which is this machine

PRINTS = """
import os, time
from dask_flow import Flow, task

@task
def say(n):
    time.sleep(0.3)
    os.write(1, f"hello {n} of the worker itself\\n".encode())
    return n

with Flow("speaking") as flow:
    say.map([1, 2])
"""
DIES = """
import os, time
def die(n):
    if n == 3 and not os.path.exists("/tmp/again"):
        os.write(2, b"my last words\\n")
        os._exit(7)
    time.sleep(0.2)
    return n
def main(client):
    return sum(client.gather([client.submit(die, n, key=f"die-{n}", retries=9) for n in range(6)]))
"""


def install(namespace, text, **values):
    namespace.install(flow=flow(text), report={"persistentVolumeClaim": "reports"}, **values)


def read(folder, run="run"):
    return json.loads((folder / run / "report.json").read_text())


def test_report_has_the_logs_of_pods_that_are_gone(namespace, reports):
    install(namespace, PRINTS, cluster={"minWorkers": 2, "maxWorkers": 2})

    end = namespace.finish(namespace.start())

    report = read(reports)
    assert end.exit_code == 0, end.log
    assert namespace.workers() == []
    assert "report: " in end.log
    logs = {path.name: path.read_text() for path in (reports / "run" / "logs").iterdir()}
    workers = [f"{end.pod}-worker-{number}" for number in range(2)]
    assert set(logs) >= {"runner.log", "scheduler.log", *(f"{name}.log" for name in workers)}
    said = "".join(logs[f"{name}.log"] for name in workers)
    assert all(f"hello {number} of the worker itself" in said for number in (1, 2))
    assert all("Registered to" in logs[f"{name}.log"] for name in workers)
    assert f"name: {workers[0]}" in logs["scheduler.log"]
    assert logs["runner.log"].endswith("the flow succeeded\n")
    assert [each["name"] for each in report["workers"]] == workers
    assert all(each["began"] is not None and each["joined"] is not None for each in report["workers"])
    assert report["time"].keys() >= {"starting Python", "waiting for pods", "computing", "cleaning up"}
    assert (reports / "run" / "performance_report.html").exists()
    assert "where the time went: starting Python" in end.log


def test_report_on_a_claim_is_copied_from_there_by_the_commands_that_are_said(namespace, reports, tmp_path):
    namespace.install(flow=flow(SLOW, params={"seconds": 1}), report={"persistentVolumeClaim": "reports"})
    namespace.finish(namespace.start())
    ask = [sys.executable, "-m", "dask_flow", "report", "run", "-n", namespace.name]

    said = run(*ask, check=False)

    assert said.returncode == 2
    *commands, last = (shlex.split(line) for line in said.stderr.splitlines()[1:])
    assert last == ["dask-flow", "report", "run/"]
    for command in commands:
        run(*command, cwd=tmp_path)
    assert (tmp_path / "run/report.json").read_text() == (reports / "run/report.json").read_text()
    assert run(*ask[:3], *last[1:], cwd=tmp_path).stdout.strip().endswith("run/report.html")


@pytest.mark.parametrize("mode", ["runner", "pod"])
def test_worker_that_ended_early_has_its_log_and_why_in_the_report(namespace, reports, mode):
    install(namespace, DIES, cluster={"minWorkers": 1, "maxWorkers": 1, "scheduler": mode})

    end = namespace.finish(namespace.start())

    report = read(reports)
    first = f"{end.pod}-worker-0"
    assert "my last words" in (reports / "run" / "logs" / f"{first}.log").read_text()
    assert "exit code 7" in next(each["end"] for each in report["workers"] if each["name"] == first)
    assert (reports / "run" / "logs" / ("scheduler.log" if mode == "runner" else f"{end.pod}-scheduler.log")).exists()


def test_run_on_a_static_cluster_has_the_logs_that_dask_keeps(namespace, reports):
    static = ("-f", ROOT / "values/static.yaml", "--wait", "--timeout", "2m")
    claim = {"persistentVolumeClaim": "reports"}
    namespace.install("r", *static, flow=flow(PRINTS), report=claim)

    end = namespace.finish(namespace.start())

    report = read(reports)
    assert (report["exit_code"], end.exit_code) == (0, 0), end.log
    logs = {path.name: path.read_text() for path in (reports / "run" / "logs").iterdir()}
    names = {each["name"].replace(" ", "-") for each in report["workers"]}
    assert len(names) == len(namespace.workers("Running")) == 2  # they go on
    assert logs.keys() == {"runner.log", "scheduler.log", *(f"{name}.log" for name in names)}
    assert "Registered to" in logs[f"{min(names)}.log"]
    assert report["time"].keys() >= {"starting Python", "connecting", "computing"}
    assert [each["name"] for each in report["tasks"]] == ["say"]


def test_cluster_that_cannot_start_has_a_report_for_each_attempt(namespace, reports):
    install(namespace, SLOW, cluster={"image": "localhost/nothing:1", "maxWorkers": 1}, run={"backoffLimit": 1})

    end = namespace.finish(namespace.start())

    report = read(reports)
    assert (report["exit_code"], report["attempt"]) == (3, 2), end.log
    assert [each["exit_code"] for each in report["earlier_attempts"]] == [3]
    assert "localhost/nothing:1" in report["workers"][0]["end"]


def test_run_that_is_suspended_leaves_its_report(namespace, reports):
    install(namespace, SLOW)
    namespace.start()
    namespace.running_worker()

    namespace.kubectl("patch", "job", "run", "-p", '{"spec": {"suspend": true}}')
    namespace.wait_for(lambda: not namespace.runners(), "the end of the runner")

    report = read(reports)
    assert (report["exit_code"], report["reason"]) == (143, "interrupted by SIGTERM")
    assert list((reports / "run" / "logs").glob("*-worker-0.log"))


def test_folder_that_cannot_be_written_ends_the_run_before_there_is_a_cluster(namespace, reports):
    reports.chmod(0o755)
    install(namespace, SLOW)

    end = namespace.finish(namespace.start())

    assert (end.condition, end.exit_code) == ("Failed", 2), end.log
    assert "nothing can be written there (Permission denied)" in end.reason
    assert "worker pods requested" not in end.log
