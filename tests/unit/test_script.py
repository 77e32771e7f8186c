"""Scripts: files that run as `python FILE` would, on the run's cluster."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import dask
import pytest
from dask_flow.errors import InputError
from dask_flow.flows import script
from dask_flow.targets import load
from distributed import Client, LocalCluster, Security


@pytest.fixture(scope="module", params=["tcp", "tls"])
def client(request):
    security = Security.temporary() if request.param == "tls" else None
    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=2,
            processes=False,
            protocol=f"{request.param}://",
            security=security,
            dashboard_address=":0",
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))


EXAMPLES = Path(__file__).parents[2] / "examples"


def write(folder, text, name="job.py"):
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path


def run(client, folder, text, *args):
    loaded = load(f"{write(folder, text)}:__main__", args)
    script.check(loaded.flow, {})
    return script.run(loaded.flow, client, {})


def dask_flow(*args, **env):
    variables = {**os.environ, "DASK_DISTRIBUTED__SCHEDULER__DASHBOARD_ADDRESS": ":0", **env}
    command = [sys.executable, "-m", "dask_flow", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, env=variables, check=False, timeout=120)


def test_script_is_main_with_its_arguments_and_a_client(client, tmp_path, monkeypatch):
    monkeypatch.setenv("OUT", str(tmp_path / "out"))
    text = """
        import os, pathlib, sys
        from distributed import Client
        if __name__ == "__main__":
            def double(x):
                return 2 * x
            with Client() as client:
                total = client.submit(double, int(sys.argv[1])).result()
                address = client.scheduler.address
            found = [sys.argv, __file__, os.getcwd(), total, address]
            pathlib.Path(os.environ["OUT"]).write_text(repr(found))
        """

    result = run(client, tmp_path, text, "21", "--b")

    path = str(tmp_path / "job.py")
    assert (result.errors, result.results) == ({}, {})
    assert (tmp_path / "out").read_text() == repr(
        [[path, "21", "--b"], path, str(Path.cwd()), 42, client.scheduler.address]
    )


def test_get_client_and_plain_dask_in_a_script_use_the_runs_cluster(client, tmp_path):
    text = """
        import dask
        from distributed import Client, get_client, get_worker
        @dask.delayed
        def on_a_worker():
            return get_worker().address
        plain = on_a_worker().compute()
        with Client() as own:
            assert get_client() is own
            address = own.scheduler.address
        assert get_client().scheduler.address == address
        assert dask.compute(on_a_worker(), [on_a_worker()]) == (plain, [plain])
        """

    assert run(client, tmp_path, text).errors == {}


def test_process_that_a_script_starts_connects_too_and_nothing_stays(client, tmp_path, monkeypatch):
    monkeypatch.setenv("OUT", str(tmp_path / "out"))
    before = dict(os.environ), dask.config.get("distributed.comm.tls"), sys.argv, sys.modules["__main__"]
    text = """
        import os, pathlib, subprocess, sys
        code = "from distributed import Client; print(Client().submit(abs, -42).result())"
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        key = os.environ.get("DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY", "")
        mode = oct(os.stat(key).st_mode) if key else ""
        pathlib.Path(os.environ["OUT"]).write_text("|".join([found.strip(), key, mode]))
        """

    result = run(client, tmp_path, text)

    assert not result.errors
    answer, key, mode = (tmp_path / "out").read_text().split("|")
    assert answer == "42"
    assert bool(key) == client.scheduler.address.startswith("tls")
    assert mode in {"", "0o100600"}
    assert not key or not Path(key).parent.exists()
    assert (dict(os.environ), dask.config.get("distributed.comm.tls"), sys.argv, sys.modules["__main__"]) == before


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("import sys\nsys.exit(3)\n", "SystemExit(3)"),
        ("import sys\nsys.exit('no data')\n", "SystemExit('no data')"),
        ("1 / 0\n", "ZeroDivisionError('division by zero')"),
        ("import sys\nsys.exit(0)\n", None),
        ("import sys\nsys.exit()\n", None),
    ],
)
def test_end_of_a_script_is_that_of_the_flow(client, tmp_path, text, error):
    result = run(client, tmp_path, text)

    assert [repr(each) for each in result.errors.values()] == ([error] if error else [])
    assert set(result.errors) <= {"job"}


def test_shutdown_closes_the_scripts_client_only(client, tmp_path, caplog):
    text = "from distributed import Client\nclient = Client()\nclient.shutdown()\nassert client.status == 'closed'\n"

    result = run(client, tmp_path, text)

    assert not result.errors
    assert "client.shutdown() only closes the client here" in caplog.text
    assert client.submit(abs, -3).result() == 3


def test_clients_that_a_script_leaves_open_are_closed(client, tmp_path):
    known = set(Client._instances)

    result = run(client, tmp_path, "from distributed import Client\nclient = Client()\n")

    assert not result.errors
    assert [each.status for each in set(Client._instances) - known if each.status != "closed"] == []
    assert client.status == "running"


def test_client_that_wants_workers_of_its_own_is_one_of_the_runs_cluster(client, tmp_path, caplog):
    text = """
        import os
        from distributed import Client
        client = Client(n_workers=2, processes=False, name="mine")
        assert client.id.startswith("Client-mine")
        assert client.scheduler.address == os.environ["DASK_SCHEDULER_ADDRESS"]
        """

    assert run(client, tmp_path, text).errors == {}
    assert "Client(n_workers=…) has no effect here: this is a client of the run's cluster" in caplog.text
    assert "Client(processes=…) has no effect" in caplog.text


def test_client_of_another_cluster_is_that(client, tmp_path):
    text = """
        from distributed import Client, LocalCluster
        with LocalCluster(n_workers=1, processes=False, dashboard_address=":0", protocol="tcp://") as cluster:
            with Client(cluster) as own, Client(cluster.scheduler_address) as other:
                assert own.scheduler.address == other.scheduler.address == cluster.scheduler_address
                assert own.submit(abs, -1).result() == 1
        """

    assert run(client, tmp_path, text).errors == {}


def test_dataclass_of_a_script_travels(client, tmp_path):
    text = """
        from __future__ import annotations
        import dataclasses, pickle, typing
        from distributed import Client
        @dataclasses.dataclass
        class Point:
            x: int
            kind: typing.ClassVar[str] = "p"
        assert typing.get_type_hints(Point)["x"] is int
        assert pickle.loads(pickle.dumps(Point(1))) == Point(1)
        assert Client().submit(lambda point: Point(point.x + 1), Point(1)).result() == Point(2)
        """

    result = run(client, tmp_path, text)

    assert not result.errors


SPAWN = """
import multiprocessing, os
with open(os.environ["OUT"], "a") as out:
    out.write("run;")
def work(queue):
    queue.put(42)
"""
MAIN = """
if __name__ == "__main__":
    spawn = multiprocessing.get_context("spawn")
    queue = spawn.Queue()
    process = spawn.Process(target=work, args=(queue,))
    process.start()
    assert queue.get(timeout=60) == 42
    process.join()
"""
UNGUARDED = """
spawn = multiprocessing.get_context("spawn")
process = spawn.Process(target=print)
process.start()
process.join()
assert process.exitcode == 0
"""


def test_new_processes_do_not_run_a_script_without_a_main_block_again(client, tmp_path, monkeypatch):
    monkeypatch.setenv("OUT", str(tmp_path / "out"))

    result = run(client, tmp_path, SPAWN + UNGUARDED)

    assert not result.errors
    assert (tmp_path / "out").read_text() == "run;"


def test_new_processes_find_the_functions_of_a_script_with_a_main_block(client, tmp_path, monkeypatch):
    monkeypatch.setenv("OUT", str(tmp_path / "out"))

    result = run(client, tmp_path, SPAWN + MAIN)

    assert not result.errors
    assert (tmp_path / "out").read_text() == "run;run;"


def test_script_in_a_package_has_relative_imports(client, tmp_path, monkeypatch):
    (tmp_path / "batch_xyz").mkdir()
    write(tmp_path, "", "batch_xyz/__init__.py")
    write(tmp_path, "ONE = 1\n", "batch_xyz/numbers.py")
    write(tmp_path, "from .numbers import ONE\nassert ONE == 2\n", "batch_xyz/job.py")
    monkeypatch.chdir(tmp_path)

    result = script.run(load("batch_xyz.job:__main__").flow, client, {})

    assert isinstance(result.errors["job"], AssertionError)


def test_script_refuses_parameters(tmp_path):
    flow = load(str(write(tmp_path, "print(1)\n"))).flow

    with pytest.raises(
        InputError, match=r"job.py is run as a script, which has no parameters, but 'n' is given; give --arg"
    ):
        script.check(flow, {"n": 1})


def test_arguments_come_from_the_command_line_over_the_environment(tmp_path):
    path = write(tmp_path, "import sys\nprint(sys.argv[1:])\n")

    assert "['007', '--n', 'true']" in dask_flow("run", path, DASK_FLOW_ARGS="[007, --n, true]").stdout
    assert "['--n', '3']" in dask_flow("run", path, "--arg", "--n", "--arg=3", DASK_FLOW_ARGS="[x]").stdout


def test_example_of_a_script_runs():
    done = dask_flow("run", EXAMPLES / "script.py", "--arg=--tasks", "--arg=4")

    assert done.returncode == 0, done.stderr
    assert done.stdout == "pi is about 3.14\n"
    assert "hits: 4 tasks" in done.stderr


def test_script_is_executed_once_and_not_if_the_cluster_cannot_start(tmp_path):
    path = write(tmp_path, "import os\nwith open(os.environ['OUT'], 'a') as out: out.write('run;')\n")
    out = tmp_path / "out"

    dask_flow("run", path, "--address", "tcp://127.0.0.1:9", "--startup-timeout=1", OUT=str(out))
    assert not out.exists()
    dask_flow("run", path, OUT=str(out))
    assert out.read_text() == "run;"


def test_failing_script_exits_1_with_its_line_and_the_reason(tmp_path):
    path = write(tmp_path, "import sys\n\nprint('before')\nsys.exit('no data today')\n")

    done = dask_flow("run", path)

    assert done.returncode == 1
    assert done.stdout == "before\n"
    assert f'File "{path}", line 4, in <module>' in done.stderr
    assert "SystemExit: no data today" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("args", "env", "message"),
    [
        ((), {"DASK_FLOW_ARGS": "{a: 1}"}, "DASK_FLOW_ARGS must be one YAML list of texts, such as [--days, 7]"),
        ((), {"DASK_FLOW_ARGS": "[[1]]"}, "DASK_FLOW_ARGS must be one YAML list of texts"),
        ((), {"DASK_FLOW_ARGS": "["}, "DASK_FLOW_ARGS is not YAML"),
        (("--param", "n=1"), {}, "which has no parameters, but 'n' is given; give --arg VALUE"),
    ],
)
def test_wrong_arguments_exit_2(tmp_path, args, env, message):
    done = dask_flow("run", write(tmp_path, "print(1)\n"), *args, **env)

    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
