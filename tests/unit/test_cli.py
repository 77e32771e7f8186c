"""The command as a user types it, in a process of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
HEAD = (
    "from dask_flow import Flow, task\n"
    "from dask_flow.environments import DaskKubernetesEnvironment\n"
    "@task\ndef get_value(): return 'Example!'\n"
    "@task\ndef output_value(value): print(value)\n"
)


def command(*args):
    return [sys.executable, "-m", "dask_flow", *map(str, args)]


def dask_flow(*args, cwd=None, **env):
    variables = {**os.environ, "DASK_DISTRIBUTED__SCHEDULER__DASHBOARD_ADDRESS": ":0", **env}
    return subprocess.run(
        command(*args), capture_output=True, text=True, env=variables, cwd=cwd, check=False, timeout=120
    )


def write(folder, text, name="flow_file.py"):
    (folder / name).write_text(text)
    return folder / name


def assert_one_sentence(done, code):
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if "error: " in line or line.startswith("Error: ")]
    assert len(errors) == 1, done.stderr


def test_hello_runs_on_the_local_cluster():
    done = dask_flow("run", EXAMPLES / "hello.py")

    assert done.returncode == 0, done.stderr
    assert "task output_value: Example!" in done.stderr
    assert "output_value: 1 task" in done.stderr
    assert "the flow succeeded" in done.stderr


def test_orders_run_on_the_local_cluster_with_retries_and_one_branch():
    done = dask_flow("run", EXAMPLES / "orders.py", "--param", "count=500")

    assert done.returncode == 0, done.stderr
    assert "task report: 45 orders of 500 are to be looked at" in done.stderr
    assert "task close: closed" in done.stderr
    assert "checked: 500 items in " in done.stderr


def test_code_beside_the_file_reaches_the_workers(tmp_path):
    write(tmp_path, "def double(x): return 2 * x\n", "helpers_of_mine.py")
    path = write(tmp_path, "from helpers_of_mine import double\ndef main(client, n): return client.submit(double, n)\n")

    done = dask_flow("run", path, "--param", "n=21", cwd="/")

    assert "result of main: 42" in done.stderr


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A scheduler and a worker that have none of the flows' files."""
    folder = tmp_path_factory.mktemp("elsewhere")
    file = folder / "scheduler.json"
    dashboard = ("--dashboard-address", "127.0.0.1:0")
    started = []
    for name, args in (
        ("scheduler", ("--host", "127.0.0.1", "--port", "0", *dashboard)),
        ("worker", ("--no-dashboard",)),
    ):
        command_line = [sys.executable, "-m", f"distributed.cli.dask_{name}"]
        line = [*command_line, "--scheduler-file", file, *args]
        started.append(subprocess.Popen(line, cwd=folder, stderr=subprocess.DEVNULL))
        while not file.exists():
            assert started[0].poll() is None
            time.sleep(0.05)
    yield json.loads(file.read_text())["address"]
    for process in reversed(started):
        process.terminate()
        process.wait(30)


BY_VALUE = {
    "submitted": "def double(x): return 2 * x\ndef main(client): return client.submit(double, 21).result()\n",
    "returned": "def double(x): return 2 * x\ndef main(client): return [client.submit(double, 21), {'a': 1}][0]\n",
    "delayed": "import dask\ndef double(x): return 2 * x\ndef main(): return dask.delayed(double)(21)\n",
    "helper": "from helper_of_mine import double\nfrom dask_flow import Flow, task\n"
    "with Flow('f') as flow: task(double)(21)\n",
    "subclass": "from dask_flow import Flow, Task\nclass Double(Task):\n    def run(self, x): return 2 * x\n"
    "with Flow('f') as flow: Double()(21)\n",
    "function": "from dask_flow import Flow, task\ndef double(x): return 2 * x\n"
    "with Flow('f') as flow: task(double)(21)\n",
    "ordered": "from dask_flow import Flow, task\n@task\ndef one(): return 1\n@task\ndef double(x): return 2 * x\n"
    "with Flow('f') as flow: double(21, upstream_tasks=[one()])\n",
}


@pytest.mark.parametrize("text", BY_VALUE.values(), ids=BY_VALUE)
def test_code_of_the_file_reaches_workers_that_do_not_have_it(tmp_path, elsewhere, text):
    write(tmp_path, "def double(x): return 2 * x\n", "helper_of_mine.py")

    done = dask_flow("run", write(tmp_path, text), "--address", elsewhere)

    assert done.returncode == 0, done.stderr
    assert ": 42" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "env", "shown"),
    [
        (["--cluster", "local"], {"DASK_FLOW_ADDRESS": "tcp://127.0.0.1:9"}, "result of main: 1"),
        (["--address", "tcp://127.0.0.1:9"], {"DASK_FLOW_CLUSTER": "local"}, "no Dask scheduler at tcp://127.0.0.1:9"),
        ([], {"DASK_FLOW_CLUSTER": "local", "DASK_FLOW_ADDRESS": "tcp://127.0.0.1:9"}, "leave out one of the two"),
    ],
)
def test_command_line_wins_over_an_environment_that_says_otherwise(tmp_path, arguments, env, shown):
    path = write(tmp_path, "def main(): return 1\n")

    done = dask_flow("run", path, "--startup-timeout", "1", *arguments, **env)

    assert shown in done.stderr


def test_futures_in_what_a_function_returns_are_awaited(tmp_path):
    text = "def bad(x): raise ValueError('on purpose')\ndef main(client): return {'a': client.map(bad, [1])}\n"

    done = dask_flow("run", write(tmp_path, text))

    assert done.returncode == 1
    assert "the flow failed: task main: ValueError: on purpose" in done.stderr


def test_parameters_come_from_the_command_line_over_the_environment(tmp_path):
    path = write(tmp_path, "def main(a, b, c='x'): return [a, b, c]\n")

    done = dask_flow("run", path, "--param", "b=[1, two]", DASK_FLOW_PARAMS="{a: 1.5, b: 0}")

    assert "result of main: [1.5, [1, 'two'], 'x']" in done.stderr


def test_flows_declared_bounds_are_honoured_and_the_environment_wins(tmp_path):
    count = "def main(client): return len(client.nthreads())\n"
    path = write(
        tmp_path,
        HEAD + "@task\ndef workers():\n    from distributed import get_client\n"
        "    return len(get_client().nthreads())\n"
        "flow = Flow('bounds', tasks=[workers], environment=DaskKubernetesEnvironment(min_workers=2, max_workers=2))\n"
        + count,
    )

    assert "result of workers: 2" in dask_flow("run", f"{path}:flow").stderr
    assert (
        "result of workers: 1"
        in dask_flow("run", f"{path}:flow", DASK_FLOW_MIN_WORKERS="1", DASK_FLOW_MAX_WORKERS="1").stderr
    )


def test_failing_flow_exits_1_with_the_users_traceback_and_the_reason(tmp_path):
    log = write(tmp_path, "", "termination-log")
    path = write(
        tmp_path,
        HEAD + "@task\ndef broken(value): raise ValueError('on purpose')\n"
        "with Flow('fails') as flow:\n    output_value(broken(get_value()))\n",
    )

    done = dask_flow("run", path, DASK_FLOW_TERMINATION_LOG=str(log))

    assert done.returncode == 1
    assert "flow_file.py" in done.stderr
    reason = "the flow failed: task broken: ValueError: on purpose; not run because of it: output_value"
    assert reason in done.stderr
    assert log.read_text() == reason


def test_flow_that_takes_too_long_exits_1(tmp_path):
    path = write(tmp_path, "import time\ndef main(): time.sleep(600)\n")

    done = dask_flow("run", path, "--timeout", "0.5")

    assert done.returncode == 1
    assert "the flow did not finish within --timeout 0.5 s" in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_ends_the_run_with_its_code_and_leaves_no_process(tmp_path, number, code):
    started = tmp_path / "started"
    path = write(tmp_path, f"import time\ndef main():\n    open({str(started)!r}, 'w').close()\n    time.sleep(600)\n")
    process = subprocess.Popen(command("run", path), stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not started.exists() and process.poll() is None:
        time.sleep(0.05)

    process.send_signal(number)
    _, log = process.communicate(timeout=60)

    assert process.returncode == code, log
    assert f"interrupted by {number.name}" in log
    wait_until_gone(process.pid)


def wait_until_gone(group, seconds=20):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    left = subprocess.run(["ps", "-o", "pid,args", "-g", str(group)], capture_output=True, text=True, check=False)
    pytest.fail(f"still there: {left.stdout}")


def test_json_log_is_one_object_a_line(tmp_path):
    done = dask_flow("run", write(tmp_path, "def main(): return 'x'\n"), "--log-format", "json")

    entries = [json.loads(line) for line in done.stderr.splitlines()]
    assert entries[-1]["message"] == "the flow succeeded"
    assert {"time", "level", "message"} <= entries[0].keys()


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["missing.py"], "no such file: missing.py"),
        (["."], ". is a folder; name a .py file in it, or a module by its name; there is flow_file.py"),
        (["flow_file.py:other"], "flow_file.py has no 'other'"),
        (["flow_file.py", "--param", "m=1"], "has no parameter 'm'"),
        (["flow_file.py"], "needs a value for n; give --param n=VALUE"),
        (["flow_file.py", "--param", "n"], "--param 'n' is not NAME=VALUE"),
        (["flow_file.py", "--param", "n=[1"], "--param n is not YAML"),
        (
            ["flow_file.py", "--param", "n=1", "--min-workers", "3", "--max-workers", "2"],
            "is more than --max-workers 2",
        ),
        (
            ["flow_file.py", "--param", "n=1", "--min-workers", "0"],
            "--min-workers must be a whole number from 1 to 150000",
        ),
        (
            ["flow_file.py", "--param", "n=1", "--max-workers", "-3"],
            "--max-workers must be a whole number from 1 to 150000",
        ),
        (["flow_file.py", "--min-workers", "many"], "'many' is not a valid integer"),
        (["flow_file.py", "--cluster", "moon"], "'moon' is not one of"),
        ([], "Missing argument 'TARGET'"),
        (["flow_file.py", "--address", "nonsense"], "'nonsense' is not an address such as tcp://dask-scheduler:8786"),
    ],
)
def test_bad_input_exits_2_with_one_message(tmp_path, args, text):
    write(tmp_path, "def main(n): return n\n")
    log = write(tmp_path, "", "termination-log")

    done = dask_flow("run", *args, cwd=tmp_path, DASK_FLOW_TERMINATION_LOG=str(log))

    assert_one_sentence(done, 2)
    assert text in done.stderr
    assert text in log.read_text()


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("    a, b = add(1), add(2)\n    a.set_upstream(b)\n    b.set_upstream(a)\n", "has a cycle: add → add → add"),
        ("    add(Parameter('n'))\n    add(Parameter('n'))\n", "several parameters named n|another parameter n|'n'"),
        ("    add.map(Parameter('n', default=5))\n", "n"),
    ],
    ids=["cycle", "same-parameter", "not-to-be-mapped"],
)
def test_flow_that_cannot_run_exits_2_with_one_message(tmp_path, body, text):
    head = "from dask_flow import Flow, Parameter, task\n@task\ndef add(x): return x\nwith Flow('f') as flow:\n"

    done = dask_flow("run", write(tmp_path, head + body), "--cluster", "local")

    assert_one_sentence(done, 2)
    assert re.search(text, done.stderr), done.stderr


def test_task_that_returns_none_ran_and_has_no_result_to_show(tmp_path):
    path = write(tmp_path, "from dask_flow import Flow, task\n@task\ndef rest(): ...\nflow = Flow('f', tasks=[rest])\n")

    done = dask_flow("run", path, "--cluster", "local")

    assert done.returncode == 0, done.stderr
    assert "rest: 1 task" in done.stderr
    assert "result of" not in done.stderr


def test_several_candidates_are_listed(tmp_path):
    write(tmp_path, "def a(): ...\ndef b(): ...\n")

    done = dask_flow("run", "flow_file.py", cwd=tmp_path)

    assert_one_sentence(done, 2)
    assert f"{tmp_path}/flow_file.py:a, {tmp_path}/flow_file.py:b" in done.stderr


def test_pods_outside_kubernetes_exits_3_and_says_what_to_do(tmp_path):
    done = dask_flow("run", write(tmp_path, "def main(): ...\n"), "--cluster", "pods")

    assert_one_sentence(done, 3)
    assert "no service account token" in done.stderr


def test_static_address_without_a_scheduler_exits_3(tmp_path):
    path = write(tmp_path, "def main(): ...\n")

    done = dask_flow("run", path, "--address", "tcp://127.0.0.1:9", "--startup-timeout", "1")

    assert_one_sentence(done, 3)
    assert "no Dask scheduler at tcp://127.0.0.1:9" in done.stderr


def test_help_imports_nothing_heavy():
    code = (
        "import sys, dask_flow.cli; "
        "print([m for m in ('dask', 'distributed', 'kubernetes', 'yaml', 'jinja2') if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_help_of_each_command_imports_nothing_heavy():
    code = (
        "import sys, dask_flow.cli as c; [c.cli.get_command(None, name) for name in c.cli.list_commands(None)]; "
        "heavy = ('dask', 'distributed', 'kubernetes', 'yaml', 'jinja2', 'urllib3', 'rich', 'pydantic', 'fsspec'); "
        "print(len(c.cli.list_commands(None)), [m for m in heavy if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert re.fullmatch(r"[1-9][0-9] \[\]", done.stdout.strip())


def test_bash_completes_commands_and_options(tmp_path):
    (tmp_path / "dask-flow").write_text(f'#!/bin/sh\nexec {sys.executable} -m dask_flow "$@"\n')
    (tmp_path / "dask-flow").chmod(0o755)
    script = (
        'eval "$(dask-flow completion bash)"; '
        "for words in 'can' 'submit --wat'; do COMP_WORDS=(dask-flow $words); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); "
        "COMPREPLY=(); "
        '_dask_flow_completion dask-flow; echo "${COMPREPLY[@]}"; done'
    )
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}

    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, env=env)

    assert done.stdout.splitlines() == ["cancel", "--watch"]
