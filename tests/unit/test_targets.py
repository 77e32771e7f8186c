import sys

import pytest
from dask_flow.core import Flow
from dask_flow.errors import InputError
from dask_flow.targets import load

FLOW = "from dask_flow import Flow, task\n@task\ndef f(): return 1\n"


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))


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

    with pytest.raises(InputError, match="no module named 'missing_xyz'; add it to the image"):
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
        ("import nonsense_xyz\n", "my_flow.py", r"my_flow.py:1: no module named 'nonsense_xyz'; add it to the image"),
        ("import dask_flow.schedules\n", "my_flow.py", r"my_flow.py:1: .*'dask_flow.schedules'; dask-flow has no such"),
        (
            "from dask_flow import task\n\n@task\ndef f(): ...\nf()\n",
            "my_flow.py",
            r"my_flow.py:5: task 'f': no flow is",
        ),
        ("\n\n1 / 0\n", "my_flow.py", r"my_flow.py:3: ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(0)\n", "my_flow.py", r"my_flow.py:2: SystemExit: 0"),
        ("from dask_flow import task\n@task\ndef f(): ...\n", "my_flow.py", "has nothing to run"),
        (
            "from dask_flow import task\n@task\ndef f(): ...\n",
            "my_flow.py:f",
            "is of type FunctionTask, which is neither",
        ),
        ("", "nonsense_xyz", r"no module named 'nonsense_xyz'; for a file, give its path with .py"),
        ("", "not-a-module", r"no module named 'not-a-module'"),
    ],
)
def test_mistakes_are_one_sentence_with_the_line(tmp_path, text, target, message):
    write(tmp_path, text)
    target = str(tmp_path / target) if ".py" in target else target

    with pytest.raises(InputError, match=message):
        load(target)
