"""Who is notified of how a run ended, of what, and how often: by a web hook on this machine."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import urllib3
from api_server import Api, forbidden, served
from dask_flow.kube import READ_SECONDS, Kube, Server
from dask_flow.report import Outcome
from dask_flow.report.notify import Notifier

SECRET = "t0ken-that-is-secret"  # noqa: S105
GOOD = "def nightly(n=1): return n\n"
BAD = "def nightly(): raise ValueError('on purpose')\n"


@pytest.fixture
def inbox():
    """Receive what is posted here: `messages` has the JSON of each, and `delay` holds up the answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            server.paths.append(self.path)
            server.messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            server.released.wait(100 if "slow" in self.path else server.delay)
            with contextlib.suppress(ConnectionError):
                self.send_response(server.status)
                self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.messages, server.paths, server.delay, server.status = [], [], 0, 200
    server.released = threading.Event()
    server.url = f"json://user:{SECRET}@127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


def run(folder, text, *args, **env):
    (folder / "nightly.py").write_text(text)
    command = [sys.executable, "-m", "dask_flow", "run", "nightly.py", *map(str, args)]
    variables = {**os.environ, "DASK_DISTRIBUTED__SCHEDULER__DASHBOARD_ADDRESS": ":0", **env}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=variables, check=False, timeout=120)
    assert SECRET not in done.stdout + done.stderr
    return done


@pytest.mark.parametrize(
    ("text", "args", "code", "message"),
    [
        (GOOD, ["--notify-when", "success"], 0, ("nightly succeeded", "the flow succeeded")),
        (GOOD, [], 0, None),
        (
            BAD,
            ["--notify-when", "both"],
            1,
            ("nightly failed", "the flow failed: task nightly: ValueError: on purpose"),
        ),
        (BAD, ["--notify-when", "success"], 1, None),
        ("import no_such_module\n", [], 2, ("nightly.py failed", "no_such_module")),
        (GOOD, ["--param", "n"], 2, ("nightly.py failed", "--param 'n' is not NAME=VALUE")),
        (GOOD, ["--min-workers", "many"], 2, ("dask-flow run failed", "'many' is not a valid integer")),
        (GOOD, ["--report", "http://example.org/x"], 2, ("nightly.py failed", "http cannot be written to")),
        (GOOD, ["--cluster", "pods"], 3, ("nightly failed", "no access to the Kubernetes API")),
    ],
)
def test_every_end_is_told_once_to_those_who_asked_for_it(tmp_path, inbox, text, args, code, message):  # noqa: PLR0913, PLR0917
    done = run(tmp_path, text, *args, DASK_FLOW_NOTIFY=inbox.url)

    assert done.returncode == code, done.stderr
    assert len(inbox.messages) == (message is not None)
    for received in inbox.messages:
        title, reason = message
        assert received["title"] == f"{title}: on {socket.gethostname()}"
        assert reason in received["message"]
        assert received["type"] == ("success" if code == 0 else "failure")


def test_several_are_told_where_the_report_is(tmp_path, inbox):
    report = tmp_path / "reports"

    done = run(tmp_path, BAD, "--report", report, "--notify", inbox.url, "--notify", f"{inbox.url}/2")

    assert done.returncode == 1
    assert len(inbox.messages) == 2
    (page,) = report.glob("*/report.html")
    assert f"Report: {page}" in inbox.messages[0]["message"]
    assert SECRET not in "".join(path.read_text() for path in report.rglob("*") if path.is_file())


@pytest.mark.parametrize("by", ["variable", "option", "usage error"])
def test_comments_and_commas_are_no_part_of_urls(tmp_path, inbox, by):
    text = f"# ops channel, #ops\n{inbox.url}/1, {inbox.url}/2,{inbox.url}/3\n\n  # and\n{inbox.url}/4,\n"
    variables = {} if by == "option" else {"DASK_FLOW_NOTIFY": text}
    args = {"option": ["--notify", text], "usage error": ["--min-workers", "many"]}.get(by, [])

    done = run(tmp_path, BAD, *args, **variables)

    assert done.returncode == (2 if by == "usage error" else 1), done.stderr
    assert sorted(inbox.paths) == ["/hook/1", "/hook/2", "/hook/3", "/hook/4"]


def test_warning_says_which_urls_failed(tmp_path, inbox):
    refused, slow = f"json://127.0.0.1:1/{SECRET}", f"{inbox.url}/slow?rto=100"

    done = run(tmp_path, GOOD, "--notify-when", "both", DASK_FLOW_NOTIFY=f"{refused} {inbox.url} {slow}")

    warning = next(line for line in done.stderr.splitlines() if "not everybody" in line)
    assert done.returncode == 0
    assert re.search(
        r"warning: not everybody was notified: URL 1 \(json://…\): .*sending JSON notification to •••.*"
        r"; URL 3 \(json://…\): it took more than 10 s$",
        warning,
    )
    assert "URL 2" not in warning


def test_urls_that_apprise_refuses_end_the_run_before_it_starts_and_the_others_are_told(tmp_path, inbox):
    refused = [SECRET, f"slak://{SECRET}/b/c", f"slack://{SECRET}", f"mailto://u:{SECRET}@"]

    done = run(tmp_path, "def main(): print('ran')\n", DASK_FLOW_NOTIFY="\n".join([inbox.url, *refused]))

    reason = "--notify: Apprise does not accept URL 2 (…), URL 3 (slak://…), URL 4 (slack://…), URL 5 (mailto://…) of 5"
    assert done.returncode == 2
    assert reason in done.stderr
    assert "ran" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert [reason in each["message"] for each in inbox.messages] == [True]


def test_url_that_is_told_of_bad_input_before_it_was_looked_at_is_in_no_warning(tmp_path):
    done = run(tmp_path, GOOD, "--param", "n", DASK_FLOW_NOTIFY=f"slack://{SECRET}")

    assert done.returncode == 2
    assert "warning: not everybody was notified: " in done.stderr


def test_lack_of_apprise_ends_the_run_before_it_starts(tmp_path, inbox):
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as util\nfind = util.find_spec\n"
        "util.find_spec = lambda name, *more: None if name == 'apprise' else find(name, *more)\n"
    )
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))

    done = run(tmp_path, "def main(): print('ran')\n", DASK_FLOW_NOTIFY=inbox.url, PYTHONPATH=path)

    assert done.returncode == 2
    assert "--notify needs the package apprise: pip install 'dask-flow[notify]'" in done.stderr
    assert "ran" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "text", "code", "part"),
    [
        ("sitecustomize", "print('1 hello 0')", 0, "the flow succeeded"),
        ("apprise", "raise ImportError('half')", 2, "Apprise ended with exit code 1: ImportError: half"),
    ],
)
def test_only_apprise_says_which_urls_it_refuses(tmp_path, module, text, code, part):
    (tmp_path / f"{module}.py").write_text(text)
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))

    done = run(tmp_path, "def main(): ...\n", DASK_FLOW_NOTIFY="json://localhost:9", PYTHONPATH=path)

    assert done.returncode == code, done.stderr
    assert part in done.stderr


@pytest.mark.parametrize(
    ("status", "port", "problem"),
    [(500, None, "error=500"), (200, 1, "sending JSON notification to •••")],
    ids=["refused", "nobody"],
)
def test_notification_that_fails_is_a_warning(tmp_path, inbox, status, port, problem):
    inbox.status = status
    url = f"json://127.0.0.1:{port}" if port else inbox.url

    done = run(tmp_path, GOOD, "--notify", url, "--notify-when", "both")

    assert done.returncode == 0
    assert re.search(f"warning: not everybody was notified: .*{problem}", done.stderr)
    assert done.stderr.splitlines()[-1].endswith("the flow succeeded")


def test_flow_and_its_processes_do_not_have_the_urls(tmp_path, inbox):
    text = "import os\ndef main(client):\n    look = lambda: os.environ.get('DASK_FLOW_NOTIFY')\n"
    text += "    print(look(), client.submit(look).result(), client.run_on_scheduler(look))\n"

    assert "None None None" in run(tmp_path, text, DASK_FLOW_NOTIFY=inbox.url).stdout


FAILED = [{"type": "FailureTarget", "status": "True"}]
# What is known of the Job of a runner that is about to end with exit code 3, and whether somebody is notified.
JOBS = {
    "first of three": ({"spec": {"backoffLimit": 2}}, False),
    "second of three": ({"spec": {"backoffLimit": 2}, "status": {"failed": 1}}, False),
    "last of three": ({"spec": {"backoffLimit": 2}, "status": {"failed": 2}}, True),
    "last, not all counted": (
        {"spec": {"backoffLimit": 2}, "status": {"failed": 1, "uncountedTerminatedPods": {"failed": ["u"]}}},
        True,
    ),
    "only one": ({"spec": {"backoffLimit": 0}, "status": {}}, True),
    "suspended": ({"spec": {"backoffLimit": 0, "suspend": True}}, False),
    "deadline": ({"spec": {"backoffLimit": 2}, "status": {"conditions": FAILED}}, True),
    "being deleted": ({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"backoffLimit": 2}}, True),
    "deleted": (None, True),
}


@pytest.fixture
def in_pod(monkeypatch, tmp_path):
    """Have this process be a runner of the Job `night` in the namespace `jobs`, and yield what the API server has."""
    api = Api()
    (tmp_path / "namespace").write_text("jobs")
    monkeypatch.setattr("dask_flow.kube.SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setenv("DASK_FLOW_RUN", "night")
    monkeypatch.setenv("DASK_FLOW_POD_NAME", "night-abcde")
    with served(api) as url:
        server = Server(urllib3.PoolManager(), url, lambda: None)
        monkeypatch.setattr(Kube, "in_cluster", lambda: Kube(server, "jobs"))
        yield api


@pytest.mark.parametrize(("job", "told"), JOBS.values(), ids=JOBS)
def test_attempt_after_which_another_follows_tells_nobody(inbox, in_pod, job, told):
    if job:
        in_pod.add("jobs", {**job, "metadata": {"name": "night", **job.get("metadata", {})}})

    Notifier("flow.py", [inbox.url]).tell(Outcome(3, "the cluster could not start: no room"), "flights")

    assert [each["title"] for each in inbox.messages] == ["flights failed: run night in namespace jobs"] * told
    for message in inbox.messages:
        assert "the cluster could not start: no room" in message["message"]
        assert "kubectl logs -n jobs night-abcde" in message["message"]
        assert "may follow" not in message["message"]


@pytest.mark.parametrize("code", [0, 1, 2])
def test_end_after_which_no_attempt_follows_needs_no_right(inbox, in_pod, code):
    Notifier("flow.py", [inbox.url], "both").tell(Outcome(code, "so"), "flights")

    assert len(inbox.messages) == 1
    assert in_pod.asked == []


def test_runner_without_the_right_to_read_its_job_tells_that_an_attempt_may_follow(inbox, in_pod, monkeypatch):
    monkeypatch.setattr("dask_flow.kube.ROLES_SECONDS", 0.1)
    in_pod.refusals["GET", "jobs"] = forbidden("get", "jobs", "batch")

    Notifier("flow.py", [inbox.url]).tell(Outcome(4, "the cluster was lost"), "flights")

    (message,) = inbox.messages
    assert "Another attempt may follow" in message["message"]


def test_api_server_that_does_not_answer_holds_up_no_notification(inbox, in_pod, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = Server(urllib3.PoolManager(), f"http://127.0.0.1:{silent.getsockname()[1]}", lambda: None)
        monkeypatch.setattr(Kube, "in_cluster", lambda: Kube(server, "jobs"))
        began = time.monotonic()

        Notifier("flow.py", [inbox.url]).tell(Outcome(3, "no room"), "flights")

    assert time.monotonic() - began < READ_SECONDS
    assert "Another attempt may follow: the Kubernetes API cannot be reached" in inbox.messages[0]["message"]


def test_service_that_does_not_answer_is_given_up_soon_after_a_signal(tmp_path, inbox):
    inbox.delay = 100
    (tmp_path / "nightly.py").write_text(
        "import time\ndef nightly():\n    open('started', 'w').close()\n    time.sleep(600)\n"
    )
    patient = f"{inbox.url}?rto=100"  # for so long, in seconds, Apprise would wait for an answer
    command = [sys.executable, "-m", "dask_flow", "run", "nightly.py", "--notify", patient]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "started").exists() and process.poll() is None:
        time.sleep(0.05)

    process.terminate()
    _, log = process.communicate(timeout=60)

    assert process.returncode == 143, log
    assert [each["title"].partition(":")[0] for each in inbox.messages] == ["nightly was interrupted"]
    assert "warning: not everybody was notified: URL 1 (json://…): it took more than 5 s" in log
