"""The report of a run: what is in it, where it is kept, and how it is found again."""

import json
import logging
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import fsspec
import pytest
from dask_flow import Flow, task
from dask_flow.errors import InputError
from dask_flow.flows import Counts, FlowResult
from dask_flow.history import History, Seen, Step
from dask_flow.report import Outcome
from dask_flow.report.document import settings_shown
from dask_flow.report.lanes import HEIGHT, lanes
from dask_flow.report.opening import page_in, place_of
from dask_flow.report.page import duration, size, ticks
from dask_flow.report.places import Place
from dask_flow.report.tasks import group_tasks
from dask_flow.report.times import where_the_time_went
from dask_flow.report.workers import Worker, workers_of
from dask_flow.report.writing import RunReport, run_name
from dask_flow.settings import RunSettings

ROOT = Path(__file__).parents[2]
FAILS = (
    "import os\nfrom dask_flow import Flow, task\n"
    "@task\ndef fine(): return 7\n"
    "@task\ndef wrong(x): raise ValueError(f'not {x}')\n"
    "with Flow('nightly') as flow:\n    wrong(fine())\n"
)


def record(key, start, stop, worker="tcp://a:1", **more):
    """Return what Dask notes of a task."""
    compute = {"action": "compute", "start": start, "stop": stop}
    return {"key": key, "worker": worker, "thread": 1, "status": "OK", "nbytes": 10, "startstops": [compute], **more}


def history(*steps, mode="pods", **seen):
    made = History()
    made.began = 100.0
    made.steps = [Step(*each) for each in steps]
    made.settings = RunSettings(target="flow.py", flow="nightly", cluster=mode)
    made.seen = Seen(**seen)
    return made


def dask_flow(*args, **env):
    variables = {**os.environ, "DASK_DISTRIBUTED__SCHEDULER__DASHBOARD_ADDRESS": ":0", **env}
    command = [sys.executable, "-m", "dask_flow", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, env=variables, check=False, timeout=120)


def only_report(folder):
    (path,) = folder.glob("*/report.json")
    return path.parent, json.loads(path.read_text())


# ---- tasks


def test_tasks_are_summed_up_by_name_with_what_was_tried_again():
    transfer = {"action": "transfer", "start": 0, "stop": 3}
    stream = [
        record("load-1", 0, 1),
        record("load-2", 0, 3, worker="tcp://b:1"),
        record("load-2", 5, 7),  # again, as its result was lost
        record("sum-1", 0, 1, status="error", nbytes=None),
        {**record("add-1", 0, 1), "startstops": [transfer, {"action": "compute", "start": 3, "stop": 4}]},
    ]

    load, total, add = group_tasks(stream, {"tcp://a:1": "w-0", "tcp://b:1": "w-1"}, {})

    assert (load.name, load.count, load.seconds, load.workers, load.bytes) == ("load", 3, 6, ("w-0", "w-1"), 30)
    assert (load.failed, load.retries, load.shortest, load.median, load.longest) == (0, 1, 1, 2, 3)
    assert (total.failed, total.retries, total.bytes) == (1, 0, 0)
    assert (add.seconds, add.others) == (1, {"transfer": 3})


def test_flow_knows_better_what_failed_and_was_tried_again():
    stream = [record("check-1", 0, 1), record("skip-1", 0, 1, status="error")]

    check, skip = group_tasks(stream, {}, {"check": Counts(items=80, failed=2, retries=5), "skip": Counts()})

    assert (check.items, check.failed, check.retries) == (80, 2, 5)
    assert (skip.items, skip.failed) == (None, 0)


def test_names_beyond_a_hundred_are_one():
    stream = [
        record(f"kind{number}-{item}", 0, number) for number in range(20_000) for item in range(1 + (number < 60))
    ]

    groups = group_tasks(stream, {}, {})

    names = [each.name for each in groups]
    assert len(groups) == 101
    assert names[:50] == [f"kind{number}" for number in range(50)]
    assert names[50:] == [*(f"kind{number}" for number in range(19_950, 20_000)), "19,900 more names"]
    assert sum(each.count for each in groups) == 20_060
    assert sum(each.seconds for each in groups) == sum(range(20_000)) + sum(range(60))


# ---- workers


def test_worker_has_its_times_and_why_its_pod_ended():
    made = history(
        ("flow loaded", 100, 1),
        ("flow ran", 104, 6),
        stream=[record("load-1", 105, 106), record("load-2", 105, 107, worker="tcp://b:1")],
        workers={"tcp://a:1": {"name": "w-0", "nthreads": 4, "memory_limit": 1024}},
        names={"tcp://a:1": "w-0", "tcp://b:1": "w-1"},
        events=[
            (50, {"action": "remove-worker", "worker": "tcp://of-an-earlier-run:1"}),
            (103, {"action": "add-worker", "worker": "tcp://a:1"}),
            (104, {"action": "add-worker", "worker": "tcp://b:1"}),
            (108, {"action": "remove-worker", "worker": "tcp://b:1"}),
        ],
        processes={"tcp://a:1": 102.5},
    )
    for name in ("w-0", "w-1", "w-2"):
        made.pod(name)
    made.pods["w-1"].ended("pod w-1 ended: OOMKilled")
    made.pods["w-1"].ended("pod w-1 ended: OOMKilled")
    made.pods["w-2"].ended("pod w-2: ErrImagePull")

    first, second, third = workers_of(made)

    assert (first.name, first.threads, first.began, first.joined, first.left, first.end) == (
        "w-0",
        4,
        102.5,
        103,
        None,
        "",
    )
    assert (second.joined, second.left, second.end) == (104, 108, "pod w-1 ended: OOMKilled")
    assert (second.tasks, second.busy_seconds) == (1, 2)
    assert (third.name, third.address, third.end) == ("w-2", "", "pod w-2: ErrImagePull")


@pytest.mark.parametrize(
    ("pod", "worker", "named"),
    [("w-0", "w-0", ""), ("w-0", "w-0-1", ""), ("r-worker-1f-6d9-x2x", "r-worker-1f", "r-worker-1f")],
    ids=["its-own", "one-of-several", "of-the-operator"],
)
def test_worker_is_known_by_its_pod(pod, worker, named):
    made = history(("flow ran", 104, 6), workers={"tcp://a:1": {"name": worker}}, names={"tcp://a:1": worker})
    made.pod(pod).worker = named
    made.pods[pod].ended("pod ended: OOMKilled")

    (found,) = workers_of(made)

    assert (found.name, found.pod, found.end) == (worker, pod, "pod ended: OOMKilled")


# ---- time


@pytest.mark.parametrize(
    ("mode", "start"),
    [
        ("pods", {"starting Python": 1 + 1.5, "waiting for pods": 1.5}),
        ("local", {"starting Python": 1 + 3}),
        ("static", {"starting Python": 1, "connecting": 3}),
    ],
)
def test_seconds_of_a_run_are_each_counted_once(mode, start):
    made = history(("flow loaded", 101, 1), ("first worker joined", 102, 2), ("flow ran", 105, 10), mode=mode)
    workers = [Worker("w-0", "tcp://a:1", threads=2, began=103.5, joined=104.5)]
    stream = [record("f-1", 105, 113), {**record("f-2", 105, 107), "startstops": []}]
    stream[1]["startstops"] = [{"action": "transfer", "start": 105, "stop": 107}]

    spent = where_the_time_went(made, group_tasks(stream, {}, {}), workers, 117.0)

    last = {"waiting for pods": 1.5, "connecting": 3}.keys() & start.keys()
    begun = {**start, **({next(iter(last)): start[next(iter(last))]} if last else {})}
    flow = {"computing": 4.0, "transferring": 1.0, "idle": 5.0}
    rest = 17 - 1 - sum(flow.values()) - sum(begun.values())
    assert {name: spent[name] for name in flow} == pytest.approx(flow)
    assert sum(spent.values()) == pytest.approx(17)
    assert spent["loading the flow"] == 1
    assert spent["cleaning up"] == 2
    assert rest >= 0


def test_time_without_any_worker_is_idle():
    made = history(("flow loaded", 100, 1), ("flow ran", 101, 10))
    workers = [
        Worker("w-0", "tcp://a:1", joined=100.5, left=103.0),
        Worker("w-1", "tcp://b:1", joined=102.0, left=103.0),
        Worker("w-2", "tcp://c:1", joined=110.0),
    ]

    spent = where_the_time_went(made, group_tasks([record("f-1", 101, 103)], {}, {}), workers, 111.0)

    # There were workers for 3 of 10 seconds, and their threads for 4 in all, of which they computed 2.
    assert (spent["computing"], spent["idle"]) == (1.5, 8.5)


def test_start_that_fails_is_waiting_for_pods():
    made = history(("flow loaded", 100, 1), ("first worker joined", 101, 30, False), ("worker pods gone", 131, 2))

    spent = where_the_time_went(made, (), [], 133.0)

    assert spent == {"loading the flow": 1, "waiting for pods": 30, "cleaning up": 2}


# ---- the page


def test_lane_is_as_high_as_the_share_of_busy_threads():
    workers = [Worker("w-0", "tcp://a:1", threads=2, joined=0.0), Worker("never", "")]

    (lane,) = lanes([record("f-1", 0, 5), record("g-1", 5, 10)], workers, {"f": "c0"}, 0.0, 10.0)

    assert lane.paths == {
        "c0": f"M0 {HEIGHT // 2}h500v{HEIGHT // 2}h-500z",
        "other": f"M500 {HEIGHT // 2}h500v{HEIGHT // 2}h-500z",
    }
    assert (lane.busy, lane.left, lane.width) == (0.5, 0.0, 100.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.0000004, "0 µs"), (0.0123, "12.3 ms"), (1.234, "1.23 s"), (59.97, "60.0 s"), (3725, "1 h 02 min")],
)
def test_duration_has_a_fitting_unit(seconds, text):
    assert duration(seconds) == text


def test_sizes_and_ticks_are_round():
    assert [size(number) for number in (0, 1023, 2048, 3.5 * 2**30)] == ["0 B", "1023 B", "2 KiB", "3.5 GiB"]
    assert ticks(7.0) == [(pytest.approx(100 * n / 7), f"{n} s") for n in range(8)]
    assert ticks(0) == []


def test_page_of_ten_thousand_tasks_on_a_hundred_workers_is_small(tmp_path):
    @task
    def each(n):
        return n

    with Flow("wide") as flow:
        for number in range(10_000):
            each(number, task_args={"name": f"kind {number % 50}"})
    made = history(("flow loaded", 100, 1), ("flow ran", 102, 1000), stream=[])
    addresses = [f"tcp://10.0.{number // 250}.{number % 250}:1" for number in range(100)]
    stream = [
        record(f"kind {n % 50}-{n:08x}", 102 + n * 0.0997, 102 + n * 0.0997 + n % 13, worker=addresses[n * 7 % 100])
        for n in range(10_000)
    ]
    workers = {address: {"name": f"worker-{n}", "nthreads": 2} for n, address in enumerate(addresses)}
    made.seen, made.flow = Seen(stream, workers, {}), flow
    made.result = FlowResult({}, errors={f"kind[{n}]": ValueError(n) for n in range(10_000)})
    made.errors = {f"kind[{n}]": "Traceback\n" * 40 for n in range(10_000)}
    report = RunReport.to(str(tmp_path), made)

    results = {f"kind {n}": "x" * 4000 for n in range(10_000)}
    outcome = Outcome(1, "the flow failed", results, group_tasks(stream, {}, {}))
    report.write(outcome, workers_of(made), {"computing": 1000.0})
    report.close()

    folder, document = only_report(tmp_path)
    page = (folder / "report.html").read_text()
    assert len(page) < 2_000_000
    assert len(document["workers"]) == 100
    assert sum(each["count"] for each in document["tasks"]) == 10_000
    assert "61 more workers" in page
    assert "kind 49 ×200" in page  # in the flow's picture, which has a node for each name


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_texts_of_the_page_have_enough_contrast(theme):
    css = (ROOT / "runner/src/dask_flow/report/page.html").read_text()
    block = css.split(":root {")[theme + 1].partition("}")[0]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]+);", block))

    def luminance(name):
        text = colours[name][1:]
        text = "".join(2 * each for each in text) if len(text) == 3 else text
        parts = [int(text[at : at + 2], 16) / 255 for at in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    def contrast(one, other):  # as WCAG 2 defines it
        dark, light = sorted((luminance(one), luminance(other)))
        return (light + 0.05) / (dark + 0.05)

    texts = [("ink", "paper"), ("muted", "paper"), ("muted", "panel"), ("link", "paper"), ("bad", "paper")]
    texts += [("good", "good-panel"), ("bad", "bad-panel"), ("ink", "good-panel"), ("ink", "bad-panel")]
    assert [pair for pair in texts if contrast(*pair) < 4.5] == []
    drawn = [*(f"c{number}" for number in range(8)), "other", "transfer"]
    assert [name for name in drawn if contrast(name, "paper") < 2.5] == []


# ---- settings


def test_settings_in_a_report_have_no_secrets():
    settings = RunSettings(
        target="https://me:hunter2@example.org/flow.py?signature=hunter2",
        params={"db_password": "hunter2", "n": 3, "at": Path("/data")},
        env={"TOKEN": "hunter2"},
        on_exit=only_report,
        report="s3://key:hunter2@bucket/reports",
    )

    found = settings_shown(settings)

    assert "hunter2" not in json.dumps(found)
    assert found["target"] == "https://example.org/flow.py"
    assert found["params"] == {"db_password": "•••", "n": 3, "at": "/data"}
    assert (found["env"], found["on_exit"]) == (["TOKEN"], "only_report")


# ---- where it is kept


def write(place, exit_code=0, name="job", **env):
    made = history(("flow loaded", 100, 1))
    report = RunReport.to(str(place), made)
    report.write(Outcome(exit_code, f"ended with {exit_code}"), [], {})
    report.close()
    return made


@pytest.fixture
def pod(monkeypatch):
    monkeypatch.setenv("DASK_FLOW_POD_NAME", "monday-x7k2p")


@pytest.fixture
def memory():
    place = "memory://reports"
    yield place
    fsspec.filesystem("memory").rm("/", recursive=True)


def test_report_of_a_run_in_kubernetes_has_the_jobs_name():
    assert run_name({"DASK_FLOW_POD_NAME": "nightly-29384-x7k2p"}, "flow", 0) == "nightly-29384"
    job = f"{'x' * 52}-29384010"
    assert run_name({"DASK_FLOW_RUN": job, "DASK_FLOW_POD_NAME": f"{job[:58]}x7k2p"}, "flow", 0) == job
    assert run_name({"DASK_FLOW_RUN": "", "DASK_FLOW_POD_NAME": "r-dask-flow-test"}, "flow", 0) == "r-dask-flow-test"
    assert run_name({}, "my flow/2", 0) == "my-flow-2-19700101-000000"


def test_attempts_share_a_folder_and_the_last_tells_of_the_others(pod, memory):
    write(memory, exit_code=4)
    write(memory, exit_code=3)
    write(memory, exit_code=0)

    files = fsspec.filesystem("memory").glob("/reports/*/report.json")
    report = json.loads(fsspec.filesystem("memory").cat_file("/reports/monday/report.json"))
    assert files == ["/reports/monday/report.json"]
    assert report["attempt"] == 3
    assert [(each["attempt"], each["exit_code"]) for each in report["earlier_attempts"]] == [(1, 4), (2, 3)]


def test_next_run_of_a_name_overwrites_nothing(pod, memory):
    write(memory, exit_code=1)
    write(memory, exit_code=0)

    found = fsspec.filesystem("memory").glob("/reports/*/report.json")

    assert found == ["/reports/monday-2/report.json", "/reports/monday/report.json"]
    assert json.loads((page_in(memory, "monday").parent / "report.json").read_text())["run"] == "monday-2"


def test_page_below_a_url_is_fetched_with_its_files(pod, memory):
    write(memory)

    page = page_in(memory)

    assert "ended with 0" in page.read_text()
    assert (page.parent / "logs" / "runner.log").exists()


def test_newest_report_of_a_folder_is_found(tmp_path, monkeypatch):
    for number, name in enumerate(("new", "old")):
        monkeypatch.setenv("DASK_FLOW_POD_NAME", f"{name}-x7k2p")
        write(tmp_path)
        os.utime(tmp_path / name / "report.json", (0, time.time() - number * 60))

    assert page_in(str(tmp_path)) == tmp_path / "new" / "report.html"
    assert page_in(str(tmp_path / "old")) == tmp_path / "old" / "report.html"
    with pytest.raises(InputError, match="there is no report of run other in "):
        page_in(str(tmp_path), "other")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"there is no report in \./empty$"):
        page_in("./empty")


class FakeKube:
    namespace = "jobs"

    def __init__(self, env, volumes=()):
        mounts = [{"name": each["name"], "mountPath": "/reports"} for each in volumes]
        runner = {"name": "runner", "image": "i:1", "env": env, "volumeMounts": mounts}
        spec = {"containers": [{"name": "sidecar"}, runner], "volumes": list(volumes), "securityContext": {"a": 1}}
        self.job = {"metadata": {"name": "monday"}, "spec": {"template": {"spec": spec}}}

    def get(self, kind, name):
        assert (kind, name) == ("jobs.batch", "monday")
        return self.job


def test_place_of_a_run_in_kubernetes_is_what_its_job_says():
    claim = {"name": "r", "persistentVolumeClaim": {"claimName": "reports"}}

    def of(value, *volumes):
        return place_of("monday", FakeKube([{"name": "DASK_FLOW_REPORT", "value": value}], volumes))

    assert of("s3://bucket/reports") == "s3://bucket/reports"
    with pytest.raises(InputError, match="run monday keeps no report"):
        of(None)
    with pytest.raises(InputError, match="is in /reports/sub/monday of its pod, on claim reports; to have") as raised:
        of("/reports/sub", claim)
    commands = [shlex.split(line) for line in str(raised.value).splitlines()[1:]]
    assert commands[2] == ["kubectl", "-n", "jobs", "cp", "monday-report:/reports/sub/monday", "monday"]
    pod = json.loads(commands[0][-1].removeprefix("--overrides="))["spec"]
    assert (pod["securityContext"], pod["volumes"]) == ({"a": 1}, [claim])
    assert pod["containers"][0]["volumeMounts"] == [{"name": "r", "mountPath": "/reports"}]
    with pytest.raises(InputError, match="is in /tmp/monday of its pod, which is gone with it"):
        of("/tmp", claim)


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("/proc/nothing", r"--report /proc/nothing: nothing can be written there \(.*\); give a folder"),
        ("https://me:hunter2@example.org/x", "--report https://example.org/x: https cannot be written to"),
        ("nothing://x", "--report nothing://x: fsspec knows no scheme 'nothing'"),
        ("gs://bucket/reports", r"--report gs://bucket/reports needs the package gcsfs: pip install 'dask-flow\[gs\]'"),
    ],
)
def test_place_that_cannot_be_written_to_is_bad_input(place, reason):
    with pytest.raises(InputError, match=reason):
        Place(place).check()


def test_relative_folder_is_that_of_the_start(pod, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = RunReport.to("reports", history(("flow loaded", 100, 1)))
    monkeypatch.chdir("/")

    report.write(Outcome(0, "fine"), [], {})
    report.close()

    assert (tmp_path / "reports" / "monday" / "report.html").exists()


def test_failed_write_is_a_warning(tmp_path, caplog):
    made = history(("flow loaded", 100, 1))
    report = RunReport.to(str(tmp_path), made)
    tmp_path.rmdir()
    tmp_path.write_text("not a folder")

    with caplog.at_level(logging.WARNING):
        report.write(Outcome(0, "fine"), [], {})
    report.close()

    assert f"the report could not be written to {tmp_path}: " in caplog.text


# ---- whole runs


def test_failed_run_leaves_a_report_with_logs(tmp_path):
    (tmp_path / "flow.py").write_text(FAILS)

    done = dask_flow("run", tmp_path / "flow.py", "--report", tmp_path / "reports", "--max-workers", "1")

    folder, report = only_report(tmp_path / "reports")
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1].endswith("error: the flow failed: task wrong: ValueError: not 7")
    assert f"report: {folder}/report.html" in done.stderr
    assert (report["flow"], report["exit_code"]) == ("nightly", 1)
    assert [each["name"] for each in report["errors"]] == ["wrong"]
    assert {each["name"]: (each["count"], each["failed"]) for each in report["tasks"]} == {
        "fine": (1, 0),
        "wrong": (1, 1),
    }
    assert [each["name"] for each in report["phases"]] == ["flow loaded", "local cluster started", "flow ran"]
    assert report["settings"]["max_workers"] == 1
    page = (folder / "report.html").read_text()
    assert "raise ValueError(f&#39;not {x}&#39;)" in page
    assert "bokeh" in (folder / "performance_report.html").read_text()
    assert "Starting Worker plugin" in (folder / "logs" / "worker-0.log").read_text()
    assert "task wrong failed" in (folder / "logs" / "runner.log").read_text()
    assert sorted(report["files"]) == sorted(
        str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()
    )
    assert not stat.S_IMODE(folder.stat().st_mode) & stat.S_IWOTH


def test_report_in_a_folder_that_cannot_be_written_ends_the_run_at_once():
    done = dask_flow("run", ROOT / "examples/hello.py", "--report", "/proc/nothing")

    assert done.returncode == 2
    assert "local cluster started" not in done.stderr
    assert "error: --report /proc/nothing: nothing can be written there" in done.stderr


def test_interrupted_run_leaves_a_report(tmp_path):
    running = tmp_path / "running"
    text = f"import pathlib, time\ndef wait():\n    pathlib.Path({str(running)!r}).touch()\n    time.sleep(600)\n"
    (tmp_path / "flow.py").write_text(f"{text}def main(client):\n    return client.submit(wait).result()\n")
    command = [
        sys.executable,
        "-m",
        "dask_flow",
        "run",
        str(tmp_path / "flow.py"),
        "--report",
        str(tmp_path / "reports"),
    ]
    env = {**os.environ, "DASK_DISTRIBUTED__SCHEDULER__DASHBOARD_ADDRESS": ":0"}
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    while not running.exists():
        assert process.poll() is None
        time.sleep(0.05)

    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=60)

    folder, report = only_report(tmp_path / "reports")
    assert process.returncode == 143, log
    assert (report["exit_code"], report["reason"]) == (143, "interrupted by SIGTERM")
    assert "Interrupted · exit code 143" in (folder / "report.html").read_text()
    assert log.count("report: ") == 2  # before the clean-up, which may be cut off, and after it


def test_last_write_after_a_signal_leaves_time_for_the_notification(tmp_path, monkeypatch, caplog):
    released = threading.Event()
    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.put", lambda *_: released.wait(15))
    report = RunReport.to(str(tmp_path), history(("flow loaded", 100, 1)))

    page = report.write(Outcome(143, "interrupted by SIGTERM"), [], {})
    released.set()
    report.close()

    assert page is None
    assert "it took more than 5 s" in caplog.text


def test_report_command_prints_the_last_page(tmp_path):
    (tmp_path / "flow.py").write_text("def main(client): return client.submit(abs, -1)\n")
    dask_flow("run", tmp_path / "flow.py", "--report", tmp_path / "reports", "--max-workers", "1")

    done = dask_flow("report", tmp_path / "reports")

    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).read_text().startswith("<!doctype html>")
    assert dask_flow("report", tmp_path).returncode == 2
    done = dask_flow("report", tmp_path / "nope")
    assert (done.returncode, f"there is no folder {tmp_path}/nope; give the folder" in done.stderr) == (2, True)
