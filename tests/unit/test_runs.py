"""Listing, reading and ending runs, with an API server in memory."""

import copy
import datetime as dt
import itertools
import json
import re
import socket

import pytest
import yaml
from api_server import COMPLETE, FAILED, ended, forbidden, job, runner_pod, warning
from click.shell_completion import BashComplete
from dask_flow import cli, user_kube
from dask_flow.errors import InputError
from dask_flow.remote import cancel as cancelling
from dask_flow.remote import dashboard as dashboards
from dask_flow.remote import follow as following
from dask_flow.remote.dashboard import forwarded, scheduler_pod
from dask_flow.remote.runs import exit_of, find, run_of
from dask_flow.remote.tables import duration, rendered

NOW = dt.datetime(2026, 1, 1, 0, 10, tzinfo=dt.UTC)
STARTED = {"startTime": "2026-01-01T00:00:30Z"}


def worker(run="monday", number=0, *, ready=True):
    labels = {"dask-flow/run": run, "app.kubernetes.io/component": "worker"}
    conditions = [{"type": "Ready", "status": str(ready)}]
    name = f"{run}-a-worker-{number}"
    return {"metadata": {"name": name, "labels": labels}, "spec": {}, "status": {"conditions": conditions}}


@pytest.fixture
def runs(cluster):
    """Four runs: one that runs, one that ended well, one that failed, and one that waits."""
    cluster.add("jobs", job("running", active=1, **STARTED))
    cluster.add("pods", runner_pod("running", state={"running": {}}))
    for number in range(3):
        cluster.add("pods", worker("running", number, ready=number < 2))
    done = {**STARTED, "completionTime": "2026-01-01T00:01:35Z", "succeeded": 1}
    cluster.add("jobs", job("good", conditions=COMPLETE, **done))
    cluster.add("pods", runner_pod("good", state=ended(0, "the flow succeeded")))
    cluster.add("jobs", job("bad", "other", conditions=FAILED, failed=2, **STARTED))
    cluster.add("pods", runner_pod("bad", "a", ended(4, "the cluster was lost")))
    cluster.add("pods", runner_pod("bad", "b", ended(1, "the flow failed: task x: ValueError: y\nmore of it")))
    cluster.get("pods", "bad-b")["metadata"]["creationTimestamp"] = "2026-01-01T00:01:00Z"
    cluster.add("jobs", job("waiting", active=1, **STARTED))
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no x:1"}}
    cluster.add("pods", runner_pod("waiting", state=waiting))
    cluster.add("jobs", {"metadata": {"name": "not-ours"}, "spec": {"template": {"spec": {"containers": [
        {"name": "x"}]}}}})  # fmt: skip
    for number, name in enumerate(("bad", "good", "running", "waiting")):
        cluster.get("jobs", name)["metadata"]["creationTimestamp"] = f"2026-01-01T00:00:0{number}Z"
    return cluster


def test_list_is_a_table_of_state_reason_age_duration_and_workers(kube, runs):
    text = rendered(find(kube), "table", now=NOW, namespaces=False, width=None)

    assert text.splitlines() == [
        "NAME      STATE       WORKERS   DURATION   AGE     REASON",
        "bad       Failed      0         1m         10m     the flow failed: task x: ValueError: y more of it",
        "good      Succeeded   0         1m5s       9m59s   the flow succeeded",
        "running   Running     2         9m30s      9m58s",
        "waiting   Pending     0         9m30s      9m57s   pod waiting-a, container runner: ImagePullBackOff: no x:1",
    ]


@pytest.mark.parametrize(("width", "rows"), [(80, 10), (120, 8)])
def test_table_fits_the_terminal_and_its_reasons_can_be_read(kube, runs, width, rows):
    runs.get("pods", "bad-b")["status"]["containerStatuses"][0]["state"] = ended(1, "the flow failed: " + "word " * 999)

    lines = rendered(find(kube), "table", now=NOW, namespaces=True, width=width).splitlines()

    assert max(map(len, lines)) <= width
    assert lines[0].startswith("NAMESPACE   NAME")
    assert (lines[1].split()[:3], lines[2].startswith("    the flow failed: word")) == (["jobs", "bad", "Failed"], True)
    assert lines[4].endswith(" …")
    assert len(lines) == rows
    assert "container runner: ImagePullBackOff: no x:1" in " ".join(lines[-2:])


def test_wide_says_attempts_exit_code_and_target_too(kube, runs):
    header, bad, *_ = rendered(find(kube), "wide", now=NOW, namespaces=False, width=80).splitlines()

    cells = dict(zip(header.split(), bad.split(maxsplit=10), strict=True))
    assert (cells["RELEASE"], cells["ATTEMPTS"], cells["EXIT"], cells["RUNNER"]) == ("other", "2", "1", "bad-b")


def test_json_and_yaml_are_the_same_records_and_name_is_kubectl_s(dask_flow, runs):
    records = json.loads(dask_flow("list", "-o", "json").stdout)

    assert [each["name"] for each in records] == ["bad", "good", "running", "waiting"]
    assert records[0]["exitCode"] == 1
    assert records[0]["durationSeconds"] == 60
    assert records[2]["workers"] == 2
    changing = {"ageSeconds": 0, "durationSeconds": 0}
    from_yaml = yaml.safe_load(dask_flow("list", "-o", "yaml").stdout)
    assert [each | changing for each in from_yaml] == [each | changing for each in records]
    assert dask_flow("list", "-o", "name", "--release", "other").stdout == "job.batch/bad\n"


def test_list_asks_all_namespaces_or_says_that_there_is_nothing(dask_flow, runs):
    runs.add("jobs", job("elsewhere"), "default")

    assert "elsewhere" in dask_flow("list", "-A").stdout
    assert "elsewhere" not in dask_flow("list").stdout
    assert dask_flow("list", "-n", "default", "--release", "x").stderr == "There are no runs in namespace default.\n"
    done = dask_flow("list", "-n", "typo")
    assert (done.exit_code, "there is no namespace typo" in done.stderr) == (2, True)
    runs.refusals["GET", "jobs"] = forbidden("list", "jobs", "batch")
    done = dask_flow("list")
    assert (done.exit_code, "eve may not list jobs in namespace jobs; ask for a Role" in done.stderr) == (3, True)


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"spec": {"suspend": True}}, "Suspended"),
        ({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}, "Cancelling"),
        ({}, "Pending"),
    ],
)
def test_states_without_a_runner(api, changes, state):
    made = api.add("jobs", job())
    for key, value in changes.items():
        made[key].update(value)

    assert run_of(made, []).state == state


LOST, NO_QUOTA = "the cluster was lost", "pods of Job monday cannot be made: exceeded quota: small"


@pytest.mark.parametrize(
    ("runner", "event", "outcome"),
    [
        (None, warning("monday"), ("Pending", NO_QUOTA)),
        (None, warning("another"), ("Pending", "")),
        (runner_pod(state={"running": {}}), warning("monday", time="2025-12-31T23:59:59Z"), ("Running", "")),
        (runner_pod(state=ended(4, LOST)), None, ("Pending", LOST)),
        (runner_pod(state=ended(4, LOST)), warning("monday", time="2025-12-31T23:59:59Z"), ("Pending", LOST)),
        (runner_pod(state=ended(4, LOST)), warning("monday"), ("Pending", NO_QUOTA)),
        (runner_pod(state=ended(0, "the flow succeeded")), None, ("Running", "")),
        (runner_pod(state={"running": {}}, phase="Failed"), warning("monday"), ("Pending", NO_QUOTA)),
        (
            runner_pod(),
            warning("monday-a", "FailedMount", "no secret", "Pod"),
            ("Pending", "pod monday-a: FailedMount: no secret"),
        ),
    ],
    ids=[
        "a quota keeps it out", "another Job's", "it runs now", "between attempts", "of before", "none can follow",
        "about to end", "its node is lost", "a volume",
    ],
)  # fmt: skip
def test_run_whose_runner_does_not_run_is_pending_with_what_it_waits_for(dask_flow, cluster, runner, event, outcome):
    cluster.add("jobs", job(active=1, **STARTED))
    if runner:
        cluster.add("pods", copy.deepcopy(runner))
    if event:
        cluster.add("events", event)

    for everywhere in ([], ["-A"]):
        (record,) = json.loads(dask_flow("list", "-o", "json", *everywhere).stdout)
        assert (record["state"], record["reason"]) == outcome


def test_who_may_not_read_events_has_the_list_without_them(dask_flow, cluster):
    cluster.add("jobs", job())
    cluster.refusals["GET", "events"] = forbidden("list", "events")

    (record,) = json.loads(dask_flow("list", "-o", "json").stdout)

    assert (record["state"], record["reason"]) == ("Pending", "")


def test_reason_of_a_runner_that_was_killed_comes_before_the_end_of_its_log():
    killed = {"terminated": {"exitCode": 137, "reason": "OOMKilled", "message": "the last line"}}

    assert exit_of(runner_pod(state=killed)) == (137, "OOMKilled: the last line")
    del killed["terminated"]["message"]
    assert exit_of(runner_pod(state=killed)) == (137, "OOMKilled")
    assert exit_of(runner_pod(state=ended(1, "the flow failed"))) == (1, "the flow failed")
    assert exit_of(runner_pod(state=ended(0))) == (0, "Completed")


def test_target_is_what_was_given_before_kubernetes_expands_it(api):
    made = api.add("jobs", job())
    made["spec"]["template"]["spec"]["containers"][0]["args"] = ["run", "/flows/$$x.py"]

    assert run_of(made, []).target == "/flows/$x.py"


@pytest.mark.parametrize(
    ("address", "arguments", "workers"),
    [
        ("tcp://s:8786", [], None),
        ("tcp://s:8786", ["--cluster=pods"], 0),
        ("tcp://s:8786", ["--cluster=static"], None),
        (None, ["--address=tcp://s:8786"], None),
        (None, [], 0),
    ],
)
def test_workers_of_a_cluster_that_stays_are_not_the_run_s(api, address, arguments, workers):
    made = api.add("jobs", job())
    runner = made["spec"]["template"]["spec"]["containers"][0]
    runner["env"].append({"name": "DASK_FLOW_ADDRESS", "value": address})
    runner["args"] += arguments

    assert run_of(made, []).workers == workers


def test_job_that_took_too_long_says_so_without_its_pods(api):
    condition = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "was active too long"}
    run = run_of(api.add("jobs", job(conditions=[condition])), [])

    assert (run.state, run.reason, run.exit_code) == ("Failed", "was active too long", None)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "<none>"), (0, "0s"), (59.9, "59s"), (60, "1m"), (119, "1m59s"), (600, "10m"), (3600, "1h"),
     (5 * 3600 + 130, "5h2m"), (3 * 86400 + 4 * 3600, "3d4h")],
)  # fmt: skip
def test_duration_has_two_units(seconds, text):
    assert duration(seconds) == text


def stamped(*lines):
    return "".join(f"2026-01-01T00:00:00.00000000{number}Z {line}\n" for number, line in enumerate(lines, start=1))


def test_logs_are_the_last_attempt_s_and_with_previous_those_before(dask_flow, runs):
    runs.logs = {"bad-a": stamped("lost"), "bad-b": stamped("one", "", "two")}

    assert dask_flow("logs", "bad").stdout == "one\n\ntwo\n"
    assert dask_flow("logs", "bad", "--previous").stdout == "lost\n"


@pytest.mark.parametrize(
    ("run", "code", "reason"), [("good", 0, "the flow succeeded"), ("bad", 1, "the flow failed: ")]
)
def test_logs_follow_a_run_to_its_end_and_exit_with_its_code(dask_flow, runs, run, code, reason):
    runs.logs = {"good-a": stamped("done"), "bad-a": stamped("lost"), "bad-b": stamped("found")}

    done = dask_flow("logs", "-f", run)

    assert (done.exit_code, done.stdout) == (code, "done\n" if run == "good" else "lost\nfound\n")
    assert f"run {run}, exit code {code}: {reason}" in done.stderr


@pytest.mark.parametrize("first_log", [stamped("first"), (500, "dial tcp 10.0.0.1:10250: no route to host")])
def test_logs_follow_goes_on_to_the_next_attempt(dask_flow, cluster, monkeypatch, first_log):
    monkeypatch.setattr(following, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(user_kube, "WATCHING_PATIENCE_SECONDS", 0)
    made = cluster.add("jobs", job(active=1))
    cluster.add("pods", runner_pod("monday", "a", {"running": {}}))
    cluster.add("events", warning("monday-a", "FailedMount", 'configmap "x" not found', "Pod"))  # before it started
    looks = itertools.count()

    def change():
        """Lose the first runner, let some looks pass without another, then have that succeed."""
        number = next(looks)
        if number == 3:
            cluster.get("pods", "monday-a")["status"]["containerStatuses"][0]["state"] = ended(4, "lost")
        elif number == 6:
            cluster.add("pods", runner_pod("monday", "b", ended(0, "the flow succeeded")))
            cluster.get("pods", "monday-b")["metadata"]["creationTimestamp"] = "2026-01-01T00:05:00Z"
            made["status"] = {"conditions": COMPLETE}

    cluster.on_get = {"jobs": change, "pods": change}
    cluster.logs = {"monday-a": lambda _: first_log, "monday-b": stamped("second")}

    done = dask_flow("logs", "-f", "monday")

    assert (done.exit_code, done.stdout) == (0, "first\nsecond\n" if isinstance(first_log, str) else "second\n")
    assert "attempt 2, runner monday-b" in done.stderr
    assert ("no route to host" in done.stderr) == isinstance(first_log, tuple)


def test_logs_of_a_run_that_cannot_start_end_with_exit_code_3_and_leave_it(dask_flow, cluster):
    cluster.add("jobs", job())
    cluster.add("events", warning("monday"))

    done = dask_flow("logs", "-f", "monday")

    assert (done.exit_code, cluster.get("jobs", "monday") is None) == (3, False)
    assert "the runner cannot start: pods of Job monday cannot be made: exceeded quota: small" in done.stderr


@pytest.mark.parametrize("name", ["running-a-worker-1", "worker-1", "1", "running-a-worker-1-0"])
def test_logs_of_a_worker_by_any_of_its_names(dask_flow, runs, name):
    runs.logs = {"running-a-worker-1": stamped("computing")}

    assert dask_flow("logs", "running", "--worker", name).stdout == "computing\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["logs", "runing"], "namespace jobs has no run runing; did you mean 'running'?"),
        (["logs", "not-ours"], "namespace jobs has no run not-ours; dask-flow list says what there is"),
        (["logs", "x", "-n", "typo"], "there is no namespace typo"),
        (["logs", "waiting"], "run waiting has no log: no runner has started"),
        (["logs", "running", "--worker", "7"], "--worker 7 is none of this run's pods: running-a-worker-0"),
        (["logs", "good", "--worker", "0"], "run good has no worker pods now"),
        (["logs", "good", "-f", "-p"], "--previous is about runners that have ended"),
        (["cancel", "running", "nothing"], "namespace jobs has no run nothing"),
        (["dashboard", "good"], "run good has no dashboard now: it is not running"),
    ],
)
def test_mistake_is_exit_code_2_and_says_what_there_is(dask_flow, runs, arguments, message):
    done = dask_flow(*arguments)

    assert (done.exit_code, message in done.stderr) == (2, True), done.output
    assert runs.get("jobs", "running")


def test_cancel_deletes_the_job_and_waits_for_the_pods(dask_flow, runs, monkeypatch):
    monkeypatch.setattr(cancelling, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(cancelling, "GONE_SECONDS", 0.05)

    done = dask_flow("cancel", "running")

    assert done.exit_code == 3
    assert "still being deleted after 0.05 s: running-a, running-a-worker-0" in done.stderr
    assert runs.get("jobs", "running") is None
    assert dask_flow("cancel", "good", "--no-wait").stdout == "run good is being cancelled\n"


def test_completion_has_runs_and_is_silent_about_errors(dask_flow, runs):
    complete = BashComplete(cli.cli, {}, "dask-flow", "_DASK_FLOW_COMPLETE")
    assert [each.value for each in complete.get_completions(["logs"], "run")] == ["running"]
    assert [each.value for each in complete.get_completions(["cancel", "bad"], "g")] == ["good"]
    runs.refusals["GET", "jobs"] = (401, "Unauthorized")
    assert complete.get_completions(["logs"], "run") == []


@pytest.mark.parametrize("kind", ["job.batch/", "jobs.batch/", "job/", "jobs/", ""])
def test_run_may_be_named_as_list_and_kubectl_do(dask_flow, runs, kind):
    runs.logs = {"bad-b": stamped("one")}

    assert dask_flow("logs", f"{kind}bad").stdout == "one\n"
    assert "run bad keeps no report" in dask_flow("report", f"{kind}bad").stderr
    names = dask_flow("list", "-o", "name").stdout.split()
    assert dask_flow("cancel", "--no-wait", *names).exit_code == 0
    assert [name for its, _, name in runs.objects if its == "jobs"] == ["not-ours"]


@pytest.mark.parametrize("name", ["pod/running-a", "job.batch/", "", "..", "a b", "Running", "job.batch/a/log"])
@pytest.mark.parametrize("command", ["logs", "cancel", "dashboard"])
def test_what_can_be_no_run_s_name_is_said(dask_flow, cluster, command, name):
    done = dask_flow(command, name)

    assert (done.exit_code, f"{name!r} is no run's name" in done.stderr) == (2, True), done.output
    assert cluster.asked == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_is_printed(dask_flow, shell):
    done = dask_flow("completion", shell)

    assert f"_DASK_FLOW_COMPLETE={shell}_complete" in done.stdout


@pytest.mark.parametrize("times", [
    ["01:59:58.9Z", "01:59:59Z", "02:00:00.000000001Z"],
    ["03:59:58.9+02:00", "03:59:59+02:00", "04:00:00.000000001+02:00"],
    ["2025-12-31T20:29:58.9-05:30", "2025-12-31T20:29:59-05:30", "2025-12-31T20:30:00.000000001-05:30"],
    ["03:59:58.9+02:00", "02:59:59+01:00", "03:00:00.000000001+01:00"],
], ids=["in UTC", "east", "west", "when summer time ends"])  # fmt: skip
def test_log_that_was_cut_off_goes_on_where_it_was_whatever_the_node_s_time_zone(kube, runs, monkeypatch, times):
    monkeypatch.setattr(user_kube, "PAUSE_SECONDS", 0)
    lines = [
        f"{time if 'T' in time else f'2026-01-01T{time}'} {name}\n" for time, name in zip(times, "abc", strict=True)
    ]
    asked = []

    def log(query):
        asked.append(query.get("sinceTime"))
        if len(asked) > 1:
            runs.get("pods", "running-a")["status"]["containerStatuses"][0]["state"] = ended(0)
        return "".join(lines[: 1 + len(asked)])

    runs.logs["running-a"] = log

    assert list(kube.log_lines("running-a", "runner", follow=True)) == ["a", "b", "c"]
    assert asked == [None, "2026-01-01T01:59:59Z"]


def test_dashboard_is_the_runner_s_or_that_of_the_scheduler_s_own_pod(kube, runs):
    made = runs.get("jobs", "running")
    assert scheduler_pod(kube, made) == "running-a"

    labels = {"dask-flow/run": "running", "app.kubernetes.io/component": "scheduler"}
    runs.add("pods", {"metadata": {"name": "running-a-scheduler", "labels": labels}, "spec": {}})
    assert scheduler_pod(kube, made) == "running-a-scheduler"


@pytest.mark.parametrize(
    ("address", "pod"),
    [
        ("tcp://dask-scheduler:8786", "s-1"),
        ("tls://dask-scheduler.jobs.svc:8786", "s-1"),
        ("tcp://none:8786", "there is no pod behind that Service here"),
        ("tcp://dask-scheduler.elsewhere:8786", "its dashboard is that cluster's, not in this namespace"),
        ("tcp://10.0.0.1:8786", "its dashboard is that cluster's, not in this namespace"),
    ],
)
def test_dashboard_of_a_cluster_that_stays_is_behind_its_service(kube, runs, address, pod):
    made = runs.get("jobs", "running")
    made["spec"]["template"]["spec"]["containers"][0]["args"].append(f"--address={address}")
    runs.add("services", {"metadata": {"name": "dask-scheduler"}, "spec": {"selector": {"app": "s"}}})
    runs.add("pods", {"metadata": {"name": "s-1", "labels": {"app": "s"}}, "spec": {}})

    try:
        found = scheduler_pod(kube, made)
    except InputError as error:
        found = str(error)

    assert found.endswith(pod)


def test_dashboard_of_a_run_between_attempts_waits_for_the_next_one(dask_flow, cluster, monkeypatch):
    monkeypatch.setattr(dashboards, "LOOK_SECONDS", 0.01)
    made = cluster.add("jobs", job(active=1))
    cluster.add("pods", runner_pod("monday", "a", {"running": {}}))
    opened, looks = [], itertools.count()

    def port(_, pod, number):
        opened.append(pod)
        return socket.socketpair()[0]

    def change():
        number = next(looks)
        if number == 3:
            cluster.get("pods", "monday-a")["status"]["containerStatuses"][0]["state"] = ended(4, "lost")
        elif number == 6:
            cluster.add("pods", runner_pod("monday", "b", {"running": {}}))
            cluster.get("pods", "monday-b")["metadata"]["creationTimestamp"] = "2026-01-01T00:05:00Z"
        elif number == 9:
            cluster.get("pods", "monday-b")["status"]["containerStatuses"][0]["state"] = ended(0)
            made["status"] = {"conditions": COMPLETE}

    cluster.on_get["jobs"] = change
    monkeypatch.setattr(user_kube.UserKube, "port", port)

    done = dask_flow("dashboard", "monday", "--port", "0")

    assert (done.exit_code, opened) == (0, ["monday-a", "monday-b"]), done.output
    first, second = done.stdout.splitlines()
    assert first == second  # the page that is open comes back
    assert done.stderr.splitlines() == [
        "run monday has no runner now; waiting for its next attempt, or its end",
        "run monday has ended, and its dashboard with it",
    ]


def test_taken_port_of_this_machine_is_said(kube, runs, monkeypatch):
    far, pod = socket.socketpair()
    monkeypatch.setattr(kube, "port", lambda *_: far)

    with pod, socket.create_server(("127.0.0.1", 0)) as taken:
        opened = forwarded(kube, "running-a", taken.getsockname()[1])
        with pytest.raises(InputError, match="give another --port"), opened:
            pass


def test_connection_to_the_local_port_reaches_the_pod_s(kube, monkeypatch):
    far, pod = socket.socketpair()
    first = socket.socketpair()
    given = iter([first[0], far])
    monkeypatch.setattr(kube, "port", lambda *_: next(given))

    with forwarded(kube, "p", 0) as port, socket.create_connection(("127.0.0.1", port)) as near, pod:
        near.sendall(b"question")
        assert pod.recv(100) == b"question"
        pod.sendall(b"answer")
        assert near.recv(100) == b"answer"
    first[1].close()


def test_nothing_that_a_pod_says_steers_the_terminal(dask_flow, runs):
    runs.get("pods", "bad-b")["status"]["containerStatuses"][0]["state"] = ended(1, "\x1b[2Jcaf\x9b\u202e\rno")
    runs.get("pods", "waiting-a")["status"]["containerStatuses"][0]["state"]["waiting"]["message"] = "no \x1b]0;x"
    runs.logs["bad-b"] = "2026-01-01T00:00:00.1Z \x1b[31mred\r50%\r\n"

    printed = [dask_flow(*command).output for command in (["list"], ["logs", "bad"], ["logs", "-f", "bad"])]

    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", "".join(printed))
    assert r"\x1b[2Jcaf\x9b\u202e\rno" in printed[0]
    assert r"\x1b]0;x" in printed[0]
    assert printed[1] == "\\x1b[31mred\\r50%\n"
    assert r"run bad, exit code 1: \x1b[2Jcaf" in printed[2]
