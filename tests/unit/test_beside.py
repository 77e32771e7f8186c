"""Code beside the flow's file reaches workers that do not have it, when it is imported in a task too."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from dask_flow.beside import sent_along
from dask_flow.errors import InputError
from dask_flow.targets import Loaded
from dask_flow.targets import own_files as limits
from dask_flow.targets.own_files import own_files
from distributed import Client, LocalCluster


def write(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def names(folder, *imported):
    return sorted(own_files(imported, folder))


def test_only_what_is_imported_comes_along_and_what_that_imports(tmp_path):
    write(
        tmp_path,
        {
            "a.py": "def f():\n    import b\n",
            "b.py": "from c import d\nimport os, b\n",
            "c/__init__.py": "",
            "c/d.py": "from importlib import import_module\nimport_module('e')\n",
            "e.py": "not Python",
            "notes.py": "",
            "other/__init__.py": "",
        },
    )

    assert names(tmp_path, "a", "numpy", "missing.too") == ["a.py", "b.py", "c/__init__.py", "c/d.py", "e.py"]


def test_package_comes_with_its_data_but_without_what_is_hidden_or_made(tmp_path):
    kept = ["p/__init__.py", "p/data/table.csv", "p/sub/__init__.py", "p/sub/deep/no_init.py"]
    skipped = [
        "p/.git/config",
        "p/.env",
        "p/__pycache__/x.pyc",
        "p/old.pyc",
        "p/venv/pyvenv.cfg",
        "p/venv/lib/x.py",
        "p/node_modules/x.js",
    ]
    write(tmp_path, dict.fromkeys([*kept, *skipped], ""))

    assert names(tmp_path, "p.sub") == kept


def test_folder_without_init_gives_only_the_modules_that_are_imported(tmp_path):
    write(tmp_path, {"n/one.py": "", "n/two.py": "", "n/m/three.py": "", "n/big.csv": ""})

    assert names(tmp_path, "n", "n.one", "n.m.three", "n.one.name") == ["n/m/three.py", "n/one.py"]


def test_names_of_the_standard_library_stay_its_own(tmp_path):
    write(tmp_path, {"queue.py": "", "json/__init__.py": ""})

    assert names(tmp_path, "queue", "json.decoder") == []


def test_links_are_followed_once(tmp_path):
    write(tmp_path, {"..data/helper.py": "", "..data/p/__init__.py": "", "..data/p/q/r.py": ""})
    (tmp_path / "helper.py").symlink_to("..data/helper.py")
    (tmp_path / "p").symlink_to("..data/p")
    (tmp_path / "..data/p/q/again").symlink_to(tmp_path / "p")

    assert names(tmp_path, "helper", "p") == ["helper.py", "p/__init__.py", "p/q/r.py"]


def test_big_file_stays_behind_with_a_warning(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(limits, "FILE_LIMIT_BYTES", 10)
    write(tmp_path, {"p/__init__.py": "", "p/table.csv": "x" * 11})

    assert names(tmp_path, "p") == ["p/__init__.py"]
    assert "p/table.csv does not come along to the workers: it has 0.0 MB" in caplog.text


@pytest.mark.parametrize("limit", ["COUNT_LIMIT", "TOTAL_LIMIT_BYTES"])
def test_too_much_is_refused_with_the_folders_name(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(limits, limit, 3)
    write(tmp_path, {"a.py": "", **{f"p/{number}.py": "xx" for number in range(4)}, "p/__init__.py": ""})

    with pytest.raises(InputError, match=r"/p is too much to come along to the workers .* install it in the image"):
        own_files(["a", "p"], tmp_path)


def processes(folder):
    """Start a scheduler and a worker that have none of the flows' files, and yield them once they are there."""
    file = folder / "scheduler.json"
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    for name, args in (
        ("scheduler", ("--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0")),
        ("worker", ("--no-dashboard",)),
    ):
        command = [sys.executable, "-m", f"distributed.cli.dask_{name}", "--scheduler-file", file, *args]
        process = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL, env=environment)
        yield process
        while not file.exists():
            assert process.poll() is None
            time.sleep(0.05)


@contextmanager
def cluster_in(folder):
    started = list(processes(folder))
    yield json.loads((folder / "scheduler.json").read_text())["address"]
    for process in reversed(started):
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    with cluster_in(tmp_path_factory.mktemp("elsewhere")) as address:
        yield address


def dask_flow(*args, **env):
    command = [sys.executable, "-m", "dask_flow", *map(str, args)]
    variables = {**os.environ, **env}
    return subprocess.run(command, capture_output=True, text=True, env=variables, check=False, timeout=120)


FLOWS = {
    "in a task": "def f(x):\n    import helper_of_mine\n    return helper_of_mine.double(x)\n"
    "def main(client): return client.submit(f, 21).result()\n",
    "package with data in a task": "def f(x):\n    from package_of_mine import deep\n    return x * deep.factor()\n"
    "def main(client): return client.submit(f, 21).result()\n",
    "by a helper in a task": "import lazy_of_mine\ndef main(client): return client.submit(lazy_of_mine.double, 21)\n",
    "in the function": "def main(client):\n    import helper_of_mine\n"
    "    return client.submit(helper_of_mine.double, 21)\n",
    "submodule in the function": "def main(client):\n    import package_of_mine.plain as plain\n"
    "    return client.submit(plain.double, 21)\n",
    "flow": "from dask_flow import Flow, task\n@task\ndef total(x):\n    import helper_of_mine\n"
    "    return helper_of_mine.double(x)\nwith Flow('f') as flow: total(21)\n",
    "script": "from distributed import Client\nimport helper_of_mine\ndef f(x):\n    import lazy_of_mine\n"
    "    return lazy_of_mine.double(x)\nif __name__ == '__main__':\n    client = Client()\n"
    "    assert client.submit(helper_of_mine.double, 21).result() == 42\n"
    "    print('printed: 42' if client.submit(f, 21).result() == 42 else '')\n",
}
BESIDE = {
    "helper_of_mine.py": "def double(x): return 2 * x\n",
    "lazy_of_mine.py": "def double(x):\n    from helper_of_mine import double\n    return double(x)\n",
    "package_of_mine/__init__.py": "",
    "package_of_mine/plain.py": "def double(x): return 2 * x\n",
    "package_of_mine/deep.py": "from importlib.resources import files\n"
    "def factor(): return int((files('package_of_mine') / 'factor.txt').read_text())\n",
    "package_of_mine/factor.txt": "2",
}


@pytest.mark.parametrize("text", FLOWS.values(), ids=FLOWS)
def test_code_beside_the_file_is_found_on_workers_that_do_not_have_it(tmp_path, elsewhere, text):
    write(tmp_path, {**BESIDE, "flow.py": text})

    done = dask_flow("run", tmp_path / "flow.py", "--address", elsewhere)

    assert done.returncode == 0, done.stderr
    assert ": 42" in done.stderr + done.stdout


@pytest.mark.parametrize("kind", ["package with data in a task", "script"])
def test_workers_need_not_have_this_package(tmp_path, kind):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['dask_flow'] = None\n")
    write(tmp_path / "flow", {**BESIDE, "flow.py": FLOWS[kind]})

    with cluster_in(tmp_path) as address:
        done = dask_flow("run", tmp_path / "flow/flow.py", "--address", address)

    assert done.returncode == 0, done.stderr
    assert ": 42" in done.stderr + done.stdout


def test_workers_that_stay_forget_the_files(tmp_path, elsewhere):
    def left(dask_worker):
        loaded = [name for name in sys.modules if name.partition(".")[0].endswith("_of_mine")]
        files = [str(path) for path in Path(dask_worker.local_directory).glob("dask-flow-files-*")]
        plugins = [name for name in dask_worker.plugins if name.startswith("dask-flow-files-")]
        return loaded + files + plugins + [path for path in sys.path if "dask-flow-files-" in path]

    write(tmp_path, {"flow.py": FLOWS["in a task"], "helper_of_mine.py": "def double(x): return 'old'\n"})
    first = dask_flow("run", tmp_path / "flow.py", "--address", elsewhere)
    write(tmp_path, {"helper_of_mine.py": "def double(x): return 'new code'\n"})

    second = dask_flow("run", tmp_path / "flow.py", "--address", elsewhere)

    assert "result of main: old" in first.stderr
    assert "result of main: new code" in second.stderr
    with Client(elsewhere) as client:
        found = client.run(left)
    assert list(found.values()) == [[]]


def test_files_of_a_run_that_was_killed_do_not_win_over_newer_ones(tmp_path, elsewhere):
    def import_it():
        import killed_xyz

        return killed_xyz.VALUE

    with Client(elsewhere) as client:
        for number in (1, 2):
            write(tmp_path / str(number), {"killed_xyz.py": f"VALUE = {number}\n"})
            files = own_files(["killed_xyz"], tmp_path / str(number))
            killed = sent_along(client, Loaded(None, files=files))
            killed.__enter__()
            assert client.submit(import_it, pure=False).result() == number
        for name in client.run(lambda dask_worker: list(dask_worker.plugins)).popitem()[1]:
            if name.startswith("dask-flow-files-"):
                client.unregister_worker_plugin(name)


def test_workers_that_come_later_or_in_place_of_others_have_the_files_too(tmp_path):
    write(tmp_path, {"late_xyz.py": "VALUE = 3\n"})

    def import_it():
        import late_xyz

        return late_xyz.VALUE

    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
        sent_along(client, Loaded(None, files=own_files(["late_xyz"], tmp_path))),
    ):
        cluster.scale(2)
        client.wait_for_workers(2, timeout=60)
        assert list(client.run(import_it).values()) == [3, 3]
        client.restart(timeout=60)
        assert list(client.run(import_it).values()) == [3, 3]


def test_nothing_is_sent_where_nothing_is_beside(elsewhere):
    with Client(elsewhere) as client, sent_along(client, Loaded(None)):
        plugins = client.run(lambda dask_worker: list(dask_worker.plugins))

    assert [name for each in plugins.values() for name in each if "dask-flow" in name] == []
