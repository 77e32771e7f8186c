"""A run from a laptop: submit, watch, list, logs, cancel, dashboard, setup."""

import base64
import json
import re
import signal
import subprocess
import sys
import urllib.request

import pytest
import yaml
from namespaces import FLIGHTS_IMAGE, ROOT, SLOW, run
from terminal import Terminal

DASK_FLOW = (sys.executable, "-m", "dask_flow")
COLOUR = re.compile(r"\x1b\[[0-9;]*[34][0-9](;[0-9]+)*m")
FAILS = """
from dask_flow import Flow, task
@task
def load():
    return 'row'
@task
def broken(value):
    raise ValueError('on purpose')
with Flow('fails') as flow:
    broken(load())
"""


@pytest.fixture
def dask_flow(namespace):
    def call(*arguments, check=True, **options):
        return run(*DASK_FLOW, arguments[0], "-n", namespace.name, *arguments[1:], check=check, **options)

    return call


@pytest.fixture
def slow(tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    return tmp_path / "slow.py"


@pytest.fixture
def as_somebody(namespace, tmp_path):
    """Return a kubeconfig with which one is a user without any right."""
    namespace.kubectl("create", "serviceaccount", "somebody")
    config = json.loads(run("kubectl", "config", "view", "--raw", "--minify", "--flatten", "-o", "json").stdout)
    token = namespace.kubectl("create", "token", "somebody").strip()
    config["users"][0]["user"] = {"token": token}
    path = tmp_path / "somebody"
    path.write_text(json.dumps(config))
    return path


def test_flights_are_watched_on_a_terminal_to_their_tables(namespace):
    namespace.install("flights", image=FLIGHTS_IMAGE, cluster={"maxWorkers": 3})
    command = [
        *DASK_FLOW,
        "submit",
        ROOT / "examples/flights.py",
        "--release",
        "flights",
        "-n",
        namespace.name,
        "--watch",
    ]

    terminal = Terminal(command, columns=120)
    code = terminal.end()

    assert code == 0, terminal.written
    assert re.search(r"month_of_flights .*█+.* [1-9][0-9]?/12", terminal.written)
    assert re.search(r"[1-3] workers?, [0-9.]+ [KMG]iB of ", terminal.written)
    assert "Departure delay in minutes, by carrier and origin" in terminal.written
    assert "progress: " not in terminal.written
    assert re.search(r"run flights-\w{5}, exit code 0: the flow succeeded\s*$", terminal.written)


def test_failing_task_is_named_with_its_traceback_and_without_a_terminal_there_are_plain_lines(
    namespace, dask_flow, tmp_path
):
    namespace.install()
    (tmp_path / "fails.py").write_text(FAILS)

    done = dask_flow("submit", tmp_path / "fails.py", "--watch", check=False)

    assert done.returncode == 1, done.stderr
    assert "Traceback (most recent call last)" in done.stdout
    assert "ValueError: on purpose" in done.stdout
    assert "progress: " in done.stdout
    assert done.stderr.splitlines()[-1].endswith("exit code 1: the flow failed: task broken: ValueError: on purpose")
    assert "\x1b" not in done.stdout + done.stderr


def test_package_that_neither_place_has_is_exit_code_2_of_the_run(namespace, dask_flow, tmp_path):
    namespace.install()
    (tmp_path / "needs.py").write_text("import no_such_package\ndef main(): ...\n")

    done = dask_flow("submit", tmp_path / "needs.py", "--watch", check=False)

    assert done.returncode == 2, done.stderr
    assert "warning: the flow is not checked here: " in done.stderr
    assert "needs.py:1: no module named 'no_such_package' here; install the package that has it" in done.stdout


def test_image_that_does_not_exist_is_exit_code_3_with_the_reason_and_nothing_is_left(namespace, dask_flow):
    namespace.install()
    before = namespace.objects()

    done = dask_flow(
        "submit", ROOT / "examples/hello.py", "--watch", "--image", "localhost/none:at-all", check=False, timeout=60
    )

    assert done.returncode == 3, done.stdout
    assert re.search(
        "the runner cannot start: pod .*, container runner: ErrImagePull: .*localhost/none:at-all", done.stderr
    )
    namespace.wait_for(lambda: namespace.objects() == before, "the end of all that the run had")


def test_runner_that_a_quota_keeps_out_is_exit_code_3_with_the_reason(namespace, dask_flow):
    namespace.install()
    namespace.kubectl("create", "quota", "small", "--hard=pods=0")

    done = dask_flow("submit", ROOT / "examples/hello.py", "--watch", check=False, timeout=60)

    assert done.returncode == 3, done.stdout
    assert "exceeded quota: small" in done.stderr
    name = dask_flow("submit", ROOT / "examples/hello.py").stdout.strip()
    record = namespace.wait_for(
        lambda: next((each for each in json.loads(dask_flow("list", "-o", "json").stdout) if each["reason"]), None),
        "a reason of the run that waits",
    )
    assert (record["name"], record["state"]) == (name, "Pending")
    assert "exceeded quota: small" in record["reason"]


def test_run_is_detached_listed_followed_and_cancelled_with_the_documented_role(namespace, as_somebody, slow):
    namespace.install("nightly")
    role = re.search(r"```yaml\n(.*?)```", (ROOT / "docs/submit.md").read_text(), re.DOTALL)[1]
    namespace.apply(yaml.safe_load(role))
    somebody = f"--serviceaccount={namespace.name}:somebody"
    namespace.kubectl("create", "rolebinding", "b", "--role=dask-flow-user", somebody)
    options = ["--kubeconfig", as_somebody, "-n", namespace.name]

    terminal = Terminal([*DASK_FLOW, "submit", slow, "--name", "one", "--watch", *options], NO_COLOR="1")
    terminal.wait_for("0/1")
    terminal.interrupt()
    terminal.wait_for("Detach from the run, which goes on, or cancel it?")
    terminal.type("\n")
    assert terminal.end() == 130
    assert f"dask-flow logs -f one -n {namespace.name}" in terminal.written
    assert not COLOUR.search(terminal.written)

    (record,) = json.loads(run(*DASK_FLOW, "list", "-o", "json", *options).stdout)
    assert (record["name"], record["state"], record["workers"]) == ("one", "Running", 1)
    assert re.search(r"^one +Running +1 ", run(*DASK_FLOW, "list", *options).stdout, re.MULTILINE)

    follower = subprocess.Popen([*DASK_FLOW, "logs", "-f", "one", *options], stdout=subprocess.PIPE, text=True)
    assert any("first worker joined" in line for line in follower.stdout)
    assert "Starting established connection" in run(*DASK_FLOW, "logs", "one", "--worker", "worker-0", *options).stdout

    line = [*DASK_FLOW, "dashboard", "one", "--port", "0", *options]
    dashboard = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    with urllib.request.urlopen(dashboard.stdout.readline().strip(), timeout=60) as page:  # noqa: S310
        assert "Dask" in page.read().decode()
    dashboard.send_signal(signal.SIGINT)
    assert dashboard.wait(30) == 0
    dashboard.stdout.close()

    assert run(*DASK_FLOW, "cancel", "one", *options).stdout == "run one is cancelled\n"
    assert follower.wait(30) == 143
    follower.stdout.close()
    assert not namespace.get("pods")["items"]
    assert not namespace.get("jobs,configmaps", "-l", "dask-flow/run=one")["items"]


def test_ctrl_c_on_a_terminal_can_cancel_and_elsewhere_detaches(namespace, slow):
    namespace.install()
    command = [*DASK_FLOW, "submit", slow, "-n", namespace.name, "--watch", "--name"]

    terminal = Terminal([*command, "one"])
    terminal.wait_for("first worker joined")
    terminal.interrupt()
    terminal.wait_for("cancel it?")
    terminal.type("cancel\n")
    assert terminal.end() == 130
    assert "run one is cancelled" in terminal.written

    process = subprocess.Popen([*command, "two"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert any("first worker joined" in line for line in process.stdout)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"dask-flow cancel two -n {namespace.name}" in error
    jobs = namespace.get("jobs")["items"]
    assert [each["metadata"]["name"] for each in jobs] == ["two"]


def test_user_s_mistakes_with_the_cluster_each_say_what_to_do(namespace, dask_flow, as_somebody, tmp_path):
    flow = ROOT / "examples/hello.py"
    expired = tmp_path / "expired"
    config = json.loads(as_somebody.read_text())
    config["users"][0]["user"] = {"token": "of-yesterday"}
    expired.write_text(json.dumps(config))
    away = tmp_path / "away"
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    away.write_text(json.dumps(config))

    for options, code, message in (
        ([], 2, f"namespace {namespace.name} has no release of the chart dask-flow"),
        (["-n", "none-such"], 2, "there is no namespace none-such"),
        (["--kubeconfig", as_somebody], 3, "may not list cronjobs in namespace"),
        (["--kubeconfig", expired], 3, "does not accept your credentials, or not any more (status 401); log in again"),
        (["--kubeconfig", away], 3, "https://127.0.0.1:1 (context "),
    ):
        done = dask_flow("submit", flow, *options, check=False)
        assert (done.returncode, message in done.stderr) == (code, True), done.stderr
        assert "Traceback" not in done.stderr


def test_setup_makes_the_pull_secret_of_the_login_that_is_here(namespace, dask_flow, tmp_path, monkeypatch):
    auth = base64.b64encode(b"me:nobody-may-see-this").decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"registry.example": {"auth": auth}}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    command = ("setup", "--image-pull-secret", "regcred", "--image", "registry.example/flow:1")

    done = dask_flow(*command)
    again = dask_flow(*command)

    assert "pull secret regcred made for registry.example" in done.stderr
    assert "it stays as it is" in again.stderr
    assert "nobody-may-see-this" not in done.stdout + done.stderr + again.stderr
    secret = namespace.get("secret", "regcred")
    assert secret["type"] == "kubernetes.io/dockerconfigjson"
    assert auth in base64.b64decode(secret["data"][".dockerconfigjson"]).decode()
    dask_flow(*command, "--force")
    assert namespace.get("secret", "regcred")["metadata"]["uid"] != secret["metadata"]["uid"]
