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


RETRYING = "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError(...)': /simple/toolz/\n"
NO_VERSION = "Could not find a version that satisfies the requirement toolz (from versions: none)"


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("no route to the index\n", "no route to the index"),
        (f"{RETRYING * 5}ERROR: {NO_VERSION}\nERROR: No matching distribution found for toolz\n", NO_VERSION),
        (f"{RETRYING}  error: subprocess-exited-with-error\n  gcc: not found\n", "subprocess-exited-with-error"),
    ],
)
def test_packages_that_the_index_does_not_give_are_worth_another_attempt(tmp_path, said, error):
    (tmp_path / "said").write_text(said)
    pip = tmp_path / "pip"
    pip.write_text(f"#!/bin/sh\ncat {tmp_path}/said >&2\nexit 1\n")
    pip.chmod(0o755)
    message = tmp_path / "message"
    message.touch()
    path = f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"

    done = entrypoint("echo", "started", EXTRA_PIP_PACKAGES="toolz", PATH=path, DASK_FLOW_TERMINATION_LOG=str(message))

    reason = f"EXTRA_PIP_PACKAGES=toolz could not be installed: {error}. The log has all that pip says.\n"
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"{said}{reason}"
    assert message.read_text() == reason


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
