import functools
import inspect
import re
import subprocess
import sys
import threading
import tomllib
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from dask_flow.core import Flow
from dask_flow.errors import InputError
from dask_flow.flows.script import Script
from dask_flow.targets import load
from dask_flow.targets.own_files import installed
from dask_flow.targets.urls import EXTRAS

FLOW = "from dask_flow import Flow, task\n@task\ndef f(): return 1\n"


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        if not installed(getattr(sys.modules[name], "__file__", None) or "/site-packages/"):
            del sys.modules[name]


def dask_flow(*args):
    command = [sys.executable, "-m", "dask_flow", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def write(folder, text, name="my_flow.py"):
    path = folder / name
    path.write_text(text)
    return path


def test_only_flow_of_a_file_is_found(tmp_path):
    path = write(tmp_path, FLOW + "flow = Flow('x', tasks=[f])\nsame = flow\n")

    assert isinstance(load(str(path)).flow, Flow)


def test_only_function_is_found_and_main_wins(tmp_path):
    assert load(str(write(tmp_path, "def run_it(): return 1\n", "a.py"))).flow() == 1
    assert load(str(write(tmp_path, "def helper(): ...\ndef main(): return 2\n", "b.py"))).flow() == 2


def test_name_chooses_among_several(tmp_path):
    path = write(tmp_path, "def one(): return 1\ndef two(): return 2\n")

    assert load(f"{path}:two").flow() == 2


def test_modules_beside_the_file_travel_by_value(tmp_path):
    write(tmp_path, "def helper(): return 3\n", "beside_it.py")
    path = write(tmp_path, "import json\nfrom beside_it import helper\ndef main(): return helper()\n")

    assert {module.__name__ for module in load(str(path)).modules} == {"my_flow", "beside_it"}


def test_module_of_the_working_directory_is_found(tmp_path, monkeypatch):
    write(tmp_path, "def main(): return 4\n", "found_here.py")
    monkeypatch.chdir(tmp_path)

    assert load("found_here").flow() == 4
    assert load("found_here:main").flow() == 4


def test_installed_modules_travel_by_name():
    assert load("json:dumps").modules == ()


def test_file_named_like_a_loaded_module_does_not_replace_it(tmp_path):
    import json

    assert load(str(write(tmp_path, "def main(): return 5\n", "json.py"))).flow() == 5
    assert sys.modules["json"] is json


def test_modules_of_the_same_package_travel_by_value(tmp_path, monkeypatch):
    (tmp_path / "etl_xyz/flows").mkdir(parents=True)
    for name in ("__init__", "common", "flows/__init__"):
        write(tmp_path / "etl_xyz", "", f"{name}.py")
    write(tmp_path / "etl_xyz", "from etl_xyz import common\ndef main(): ...\n", "flows/daily.py")
    monkeypatch.chdir(tmp_path)

    assert "etl_xyz.common" in {module.__name__ for module in load("etl_xyz.flows.daily").modules}


def test_broken_package_is_named_with_its_line(tmp_path, monkeypatch):
    (tmp_path / "broken_xyz").mkdir()
    write(tmp_path / "broken_xyz", "\nimport missing_xyz\n", "__init__.py")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(InputError, match=r"broken_xyz/__init__.py:2: no module named 'missing_xyz' here; install"):
        load("broken_xyz.mod")


@pytest.mark.parametrize(
    ("text", "target", "message"),
    [
        ("", "missing.py", r"no such file: .*missing.py; there is 'my_flow.py'|no such file: .*missing.py"),
        ("", "my_flw.py", r"no such file: .*my_flw.py; did you mean 'my_flow.py'\?"),
        ("def flow_a(): ...\n", "my_flow.py:flow_b", r"has no 'flow_b'; did you mean 'flow_a'\?"),
        ("def a(): ...\ndef b(): ...\n", "my_flow.py", r"several candidates; name one of them: .*:a, .*:b"),
        ("x = 1\n", "my_flow.py", "has nothing to run; define a dask_flow.Flow or a function"),
        ("x = 1\n", "my_flow.py:x", "is of type int, which is neither a flow nor a function"),
        ("\nif True\n", "my_flow.py", r"my_flow.py:2: syntax error: expected ':'"),
        (
            "import nonsense_xyz\n",
            "my_flow.py",
            r"^\S*my_flow.py:1: no module named 'nonsense_xyz' here; .* EXTRA_PIP_PACKAGES .* derive an image",
        ),
        ("import dask_flow.trigers\n", "my_flow.py", r"my_flow.py:1: .*'dask_flow.trigers'; .* mean 'triggers'\?"),
        (
            "from dask_flow import Flows\n",
            "my_flow.py",
            r"my_flow.py:1: dask_flow has no 'Flows'; did you mean 'Flow'\?",
        ),
        ("\nimport dask_flow\ndask_flow.Flows\n", "my_flow.py", r"my_flow.py:3: .*'Flows'; did you mean 'Flow'\?"),
        ("number = 1\nprint(nmber)\n", "my_flow.py:f", r"my_flow.py:2: NameError: .* did you mean 'number'\?"),
        ("from json import nonsense\n", "my_flow.py", r"my_flow.py:1: ImportError: cannot import name 'nonsense'"),
        ("return 1\n", "my_flow.py", r"my_flow.py:1: syntax error: 'return' outside function"),
        ("print(1)\nreturn 1\n", "my_flow.py", r"my_flow.py:2: syntax error: 'return' outside function"),
        (
            "from dask_flow import task\n\n@task\ndef f(): ...\nf()\n",
            "my_flow.py",
            r"my_flow.py:5: task 'f': no flow is",
        ),
        ("\n\n1 / 0\n", "my_flow.py:main", r"my_flow.py:3: ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(0)\n", "my_flow.py:main", r"my_flow.py:2: SystemExit: 0"),
        ("from dask_flow import task\n@task\ndef f(): ...\n", "my_flow.py", "has nothing to run"),
        (
            "from dask_flow import task\n@task\ndef f(): ...\n",
            "my_flow.py:f",
            "is of type FunctionTask, which is neither",
        ),
        ("", "nonsense_xyz", r"^no module named 'nonsense_xyz'; for a file, give its path with .py"),
        ("", "json.nonsense_xyz", r"^no module named 'json.nonsense_xyz'; for a file"),
        ("", "not-a-module", r"no module named 'not-a-module'"),
        ("", ".", r"^\. is a folder; name a \.py file in it, or a module by its name"),
        ("", "..", r"^\.\. is a folder; name a \.py file in it"),
        ("", ".hidden", r"^no such file: \.hidden"),
    ],
)
def test_mistakes_are_one_sentence_with_the_line(tmp_path, text, target, message):
    write(tmp_path, text)
    target = str(tmp_path / target) if ".py" in target else target

    with pytest.raises(InputError, match=message):
        load(target)


def test_folder_is_said_to_be_one_with_what_is_in_it(tmp_path):
    write(tmp_path, "def main(): ...\n")

    with pytest.raises(InputError, match=rf"^{tmp_path} is a folder; .*; there is my_flow\.py$"):
        load(f"{tmp_path}/")


def test_error_in_a_module_is_placed_in_its_file(tmp_path, monkeypatch):
    write(tmp_path, "\n\n1 / 0\n", "divides_xyz.py")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(InputError, match=r"^\S*divides_xyz.py:3: ZeroDivisionError"):
        load("divides_xyz:main")


def test_error_in_a_module_beside_the_file_is_placed_there(tmp_path):
    write(tmp_path, "\nimport missing_xyz\n", "beside_xyz.py")
    path = write(tmp_path, "import beside_xyz\ndef main(): ...\n")

    with pytest.raises(InputError, match=r"^\S*beside_xyz.py:2: no module named 'missing_xyz' here"):
        load(str(path))


def test_prefect_that_is_not_installed_leads_to_dask_flow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "prefect", None)
    path = write(tmp_path, "from prefect import flow\n@flow\ndef f(): ...\n")

    with pytest.raises(InputError, match=r"my_flow.py:1: .*import from dask_flow instead"):
        load(str(path))


@pytest.mark.filterwarnings("default")
def test_warnings_of_the_file_are_one_line_each(tmp_path, caplog):
    text = "import warnings\nwarnings.warn('first\\nline')\nwarnings.warn('late', FutureWarning)\ndef main(): ...\n"

    load(str(write(tmp_path, text)))

    assert [each.message.partition("my_flow.py:")[2] for each in caplog.records] == [
        "2: first line",
        "3: FutureWarning: late",
    ]


SCRIPTS = {
    "guard": "def main(client): ...\nif __name__ == '__main__':\n    main(1)\n",
    "guard the other way round": "if '__main__' == __name__:\n    print(1)\n",
    "guard beside functions": "def a(): ...\ndef b(): ...\nif __name__ == '__main__' and True:\n    a()\n",
    "main called": "import sys\ndef main(): return 0\nsys.exit(main())\n",
    "only function called": "def run(): return 0\nresult = run()\n",
    "client": "from dask.distributed import Client\ndef f(x): ...\nclient = Client()\n",
    "compute": "import dask.array as da\ntotal = da.ones(3).sum().compute()\n",
    "no function": "print('hello')\n",
    "one of several called": "def a(): ...\ndef b(): a()\nfor _ in range(2):\n    b()\n",
}


@pytest.mark.parametrize("text", SCRIPTS.values(), ids=SCRIPTS)
def test_script_is_found_by_its_source_and_not_executed(tmp_path, text):
    loaded = load(str(write(tmp_path, "import pathlib\n" + text.replace("print(", "pathlib.Path('x').touch("))))

    assert isinstance(loaded.flow, Script)
    assert loaded.flow.name == "my_flow"
    assert "my_flow" not in sys.modules


FUNCTIONS = {
    "set-up calls": "import logging\nlogging.basicConfig()\ndef main(): return 1\n",
    "set-up by an own function": "def set_up(): ...\nset_up()\ndef main(): return 1\n",
    "constant by an own function": "def read(): return 1\nN = read()\ndef main(): return N\n",
    "guard inside a function": "def main():\n    if __name__ == '__main__': ...\n    return 1\n",
    "client inside a function": "from dask.distributed import Client\ndef main():\n    if 0: Client()\n    return 1\n",
}


@pytest.mark.parametrize("text", FUNCTIONS.values(), ids=FUNCTIONS)
def test_function_is_found_although_the_module_level_does_something(tmp_path, text):
    assert load(str(write(tmp_path, text))).flow() == 1


def test_script_whose_first_imports_are_missing_is_refused_before_it_runs(tmp_path):
    text = '"""What it does."""\nfrom __future__ import annotations\nimport os, missing_xyz.part\nprint(1)\n'

    with pytest.raises(InputError, match=r"^\S*my_flow.py:3: no module named 'missing_xyz' here; install"):
        load(str(write(tmp_path, text)))


def test_script_may_make_its_modules_importable_first(tmp_path):
    text = "import sys\nsys.path.insert(0, 'lib')\nimport missing_xyz\n"

    assert isinstance(load(str(write(tmp_path, text))).flow, Script)


def test_flow_with_a_main_block_is_a_flow_and_the_block_is_not_executed(tmp_path):
    text = FLOW + "with Flow('x') as flow: f()\ndef main(): ...\nif __name__ == '__main__':\n    flow.run(1 / 0)\n"

    assert isinstance(load(str(write(tmp_path, text))).flow, Flow)


def test_file_that_imports_dask_flow_and_has_a_main_block_but_no_flow_is_a_script(tmp_path):
    text = "from dask_flow import Flow\ndef build(): return Flow('x')\nif __name__ == '__main__':\n    build()\n"

    assert isinstance(load(str(write(tmp_path, text))).flow, Script)


def test_name_main_means_a_script_and_another_name_the_object(tmp_path):
    path = write(tmp_path, SCRIPTS["guard"])

    assert isinstance(load(f"{path}:__main__").flow, Script)
    assert load(f"{path}:main").flow.__name__ == "main"


def test_file_that_could_be_both_is_refused(tmp_path):
    path = write(tmp_path, "from dask.distributed import Client\nclient = Client()\ndef main(): ...\n")

    with pytest.raises(InputError, match=r"line 2 calls Client\(\) outside of it; name .*:main for .*:__main__ to run"):
        load(str(path))


def test_arguments_are_for_scripts_only(tmp_path):
    assert load(str(write(tmp_path, SCRIPTS["guard"])), ("--n", "3")).flow.args == ("--n", "3")
    with pytest.raises(InputError, match=r"--arg is for scripts, and .*b.py is none; give --param"):
        load(str(write(tmp_path, "def main(): ...\n", "b.py")), ("3",))


def test_module_may_be_a_script(tmp_path, monkeypatch):
    (tmp_path / "jobs_xyz").mkdir()
    write(tmp_path / "jobs_xyz", "", "__init__.py")
    write(tmp_path / "jobs_xyz", SCRIPTS["guard"], "nightly.py")
    monkeypatch.chdir(tmp_path)

    script = load("jobs_xyz.nightly").flow

    assert (script.package, script.importable) == ("jobs_xyz", True)
    with pytest.raises(InputError, match="jobs_xyz is a package; name the module"):
        load("jobs_xyz:__main__")


def test_file_from_a_url_is_named_by_it(monkeypatch):
    import fsspec

    with fsspec.open("memory://flows/my_flow.py", "w") as file:
        file.write("def a(): return __file__\ndef b(): ...\n")

    loaded = load("memory://flows/my_flow.py:a")

    assert loaded.flow() == "memory://flows/my_flow.py"
    assert inspect.getsource(loaded.flow).startswith("def a()")
    assert [module.__name__ for module in loaded.modules] == ["my_flow"]
    with pytest.raises(InputError, match=r"several candidates; name one of them: memory://flows/my_flow.py:a"):
        load("memory://flows/my_flow.py")


def test_error_in_a_file_from_a_url_is_placed_there():
    import fsspec

    with fsspec.open("memory://flows/broken.py", "w") as file:
        file.write("\n1 / 0\n")

    with pytest.raises(InputError, match=r"^memory://flows/broken.py:2: ZeroDivisionError"):
        load("memory://flows/broken.py:main")


def test_script_from_a_url_is_read(tmp_path):
    import fsspec

    with fsspec.open("memory://flows/job.py", "w") as file:
        file.write("if __name__ == '__main__': print(1)\n")

    script = load("memory://flows/job.py", ("a",)).flow

    assert (script.file, script.importable, script.args) == ("memory://flows/job.py", False, ("a",))


def test_file_url_is_a_path(tmp_path):
    assert load(f"file://{write(tmp_path, 'def main(): return 1')}:main").flow() == 1


@pytest.fixture
def server(tmp_path):
    handler = functools.partial(QuietHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class QuietHandler(SimpleHTTPRequestHandler):
    def do_GET(self):
        if "forbidden" in self.path:
            self.send_error(403)
        else:
            super().do_GET()

    def log_message(self, *args): ...


def test_file_comes_from_a_server_with_a_port_and_a_query(tmp_path, server):
    write(tmp_path, "def a(): return __file__\ndef b(): ...\n")

    found = load(f"http://user:word@{server}/my_flow.py?token=secret:a").flow

    assert found() == f"http://{server}/my_flow.py"


def test_file_that_is_not_on_the_server_is_named_without_secrets(server):
    with pytest.raises(InputError, match=f"^no such file: http://{server}/none.py$"):
        load(f"http://{server}/none.py?token=secret")


def test_server_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"^http://127.0.0.1:9/f.py cannot be read: ClientConnectorError: [^\n]*$"):
        load("http://127.0.0.1:9/f.py")


@pytest.mark.parametrize("file", ["forbidden.py", "none.py"])
def test_secrets_of_a_url_are_not_in_the_output(server, file):
    done = dask_flow("run", f"http://user:word@{server}/{file}?token=secret%20of%20mine:a", "--debug")

    assert done.returncode == 2
    assert f"http://{server}/{file}" in done.stderr.splitlines()[-1]
    assert [secret for secret in ("word", "secret", "of%20mine", "of mine") if secret in done.stderr] == []


@pytest.mark.parametrize(
    ("url", "package", "extra"),
    [
        ("s3://b/f.py", "s3fs", "s3"),
        ("gs://b/f.py", "gcsfs", "gs"),
        ("abfs://c@a.dfs.core.windows.net/f.py", "adlfs", "abfs"),
    ],
)
def test_missing_package_for_a_url_is_named_with_its_extra(monkeypatch, url, package, extra):
    monkeypatch.setitem(sys.modules, package, None)
    ways = rf"pip install 'dask-flow\[{extra}\]', or in the chart set EXTRA_PIP_PACKAGES={package} in flow.env"

    with pytest.raises(InputError, match=rf"^{url} cannot be read without the package {package}: {ways}$"):
        load(f"{url}:main")


def test_extras_of_urls_are_those_of_the_package():
    extras = tomllib.loads((Path(__file__).parents[2] / "runner/pyproject.toml").read_text())["project"]

    for extra, package in EXTRAS.values():
        assert [re.match(r"\w+", each)[0] for each in extras["optional-dependencies"][extra]] == [package]


def test_function_from_a_url_runs_on_workers(tmp_path, server):
    write(tmp_path, "def double(x): return 2 * x\ndef main(client, x: int): return client.submit(double, x)\n")

    done = dask_flow("run", f"http://{server}/my_flow.py", "--param=x=21")

    assert done.returncode == 0, done.stderr
    assert "result of main: 42" in done.stderr


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense://b/f.py", "nonsense://b/f.py cannot be read: ValueError: Protocol not known: nonsense"),
        ("memory://b/none.py", "no such file: memory://b/none.py"),
        ("memory://b/flow.txt", "memory://b/flow.txt is not a Python file; its name must end in .py"),
    ],
)
def test_wrong_urls_are_one_sentence(url, message):
    with pytest.raises(InputError, match=message):
        load(url)
