"""The image's entrypoint, where it needs no image."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ENTRYPOINT = Path(__file__).parents[2] / "runner/entrypoint.sh"


def entrypoint(*arguments, **variables):
    env = {**os.environ, **variables}
    return subprocess.run(
        ["sh", ENTRYPOINT, *arguments], env=env, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("variable", ["EXTRA_APT_PACKAGES", "EXTRA_CONDA_PACKAGES"])
def test_packages_that_need_root_or_conda_are_refused(variable):
    done = entrypoint("echo", "started", **{variable: "graphviz"})

    assert done.returncode == 2
    assert f"{variable} cannot be installed here" in done.stderr
    assert "EXTRA_PIP_PACKAGES" in done.stderr
    assert done.stdout == ""


def test_packages_that_the_index_does_not_give_are_worth_another_attempt(tmp_path):
    pip = tmp_path / "pip"
    pip.write_text("#!/bin/sh\necho 'no route to the index' >&2\nexit 1\n")
    pip.chmod(0o755)
    path = f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"

    done = entrypoint("echo", "started", EXTRA_PIP_PACKAGES="toolz", PATH=path)

    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("no route to the index\nEXTRA_PIP_PACKAGES=toolz could not be installed")


def test_command_is_started_as_it_is():
    done = entrypoint("echo", "started")

    assert (done.returncode, done.stdout) == (0, "started\n")


def test_options_and_run_are_the_commands_own(tmp_path):
    command = tmp_path / "dask-flow"
    command.write_text('#!/bin/sh\necho "$@"\n')
    command.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"

    assert entrypoint("run", "flow.py", PATH=path).stdout == "run flow.py\n"
    assert entrypoint("--version", PATH=path).stdout == "--version\n"
