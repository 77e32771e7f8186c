"""The commands of the docs that need no Kubernetes are run; every other one is in a table that says where it is."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import click
import pytest
from dask_flow import cli
from doc_commands import PAGES, ROOT, Command, beginning, commands, link_project
from doc_tables import BENCHES, CLUSTER, ELSEWHERE, LOCAL

ALL = [command for page in PAGES for command in commands(page)]


@pytest.mark.parametrize("scenario", LOCAL, ids=str)
def test_commands_of_the_docs_run_here(scenario, tmp_path):
    link_project(tmp_path, scenario.files)
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    variables = {"PATH": programs, "KUBECONFIG": "/none", "DASK_DISTRIBUTED__SCHEDULER__DASHBOARD_ADDRESS": ":0"}

    done = subprocess.run(
        ["bash", "-c", scenario.script()],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path, env={**os.environ, **variables},
        check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout
    scenario.check(done.stdout)


def test_every_command_of_the_docs_is_run_once_or_has_a_reason():
    run = [command for scenario in [*LOCAL, *CLUSTER] for command in scenario.commands()]
    excused = [command for page, start in ELSEWHERE for command in beginning([page], start)]
    measured = [command for command in ALL if command.page == BENCHES]
    synopses = [command for command in ALL if command.is_synopsis]

    counts = Counter([*run, *excused, *measured, *synopses])

    assert set(ALL) - set(counts) == set(), "add these to a table of tests/doc_tables.py"
    assert [command for command, count in counts.items() if count > 1] == []


def test_every_test_that_does_the_same_exists():
    for reason in ELSEWHERE.values():
        for path, name in re.findall(r"(tests/[\w/]+\.py)(?:::(\w+))?", reason):
            assert not name or f"\ndef {name}(" in (ROOT / path).read_text()


@pytest.mark.parametrize("command", [each for each in ALL if each.page == BENCHES], ids=lambda each: each.text)
def test_benchmarks_have_the_options_of_the_docs(command):
    words = shlex.split(command.text.rpartition(".venv/bin/python ")[2])

    subprocess.run([sys.executable, *words, "--help"], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("line", sorted({line for each in ALL if each.is_synopsis for line in each.text.splitlines()}))
def test_synopsis_is_of_a_command_with_these_options(line):
    _, name, *words = re.findall(r"[^\s\[\]|]+", line)
    found = cli.cli.get_command(click.Context(cli.cli), name)
    options = {option for each in found.params for option in each.opts}

    assert {word for word in words if re.match("--?[a-z]", word)} <= options


def test_extras_that_the_docs_install_exist():
    extras = tomllib.loads((ROOT / "runner/pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {each for page in PAGES for each in re.findall(r"'dask-flow\[(\w+)\]'", page.read_text())}

    assert named
    assert named <= set(extras)


def test_commands_are_found_in_code_and_in_sentences(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text(
        "See `helm list -A`, `make test` and `kubectl logs`.\n\n"
        "    helm install a \\\n      b\n    make demo\n\n    x = 1\n\n"
        "```console\n$ dask-flow run flow.py\nthe flow succeeded\n```\n\n```yaml\nhelm: install it\n```\n\n"
        "- in a list\n\n  `kubectl get\n  pods -A`\n"
    )
    monkeypatch.setattr("doc_commands.ROOT", tmp_path)

    shown, said = (
        ["helm install a \\\n  b\nmake demo", "dask-flow run flow.py"],
        ["helm list -A", "kubectl get pods -A"],
    )

    assert [command.text for command in commands(page)] == [*shown, *said]


def test_step_that_the_page_has_not_is_told():
    with pytest.raises(AssertionError, match="0 commands"):
        beginning(["README.md"], "helm frobnicate")


def test_synopsis_is_told_from_a_command():
    assert Command("", "dask-flow run TARGET [OPTIONS]").is_synopsis
    assert not Command("", "dask-flow run flow.py").is_synopsis
