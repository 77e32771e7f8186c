"""The commands of the README and the docs, as who reads would type them, by the tables of tests/doc_tables.py."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from doc_commands import link_project
from doc_tables import CLUSTER
from namespaces import FLIGHTS_IMAGE, IMAGE, ROOT, Namespace, run

HELM = """
helm() {{
  case "$1 $*" in
    *dask-flow-flights*) command helm "$@" {flights} ;;
    *gcr.io*) command helm "$@" ;;
    "install "* | "upgrade "*) command helm "$@" {image} ;;
    *) command helm "$@" ;;
  esac
}}
"""


def as_values(image):
    repository, _, tag = image.rpartition(":")
    return f"--set image.repository={repository} --set image.tag={tag}"


def kubeconfig(folder, namespace):
    """Return a kubeconfig whose current namespace is this one."""
    path = folder / "kubeconfig"
    path.write_text(run("kubectl", "config", "view", "--raw", "--minify", "--flatten").stdout)
    run("kubectl", "--kubeconfig", path, "config", "set-context", "--current", "--namespace", namespace.name)
    return path


@pytest.fixture
def named(deleted):
    """Return namespaces of other names than those in the docs; they are deleted afterwards."""
    made = {}
    yield lambda name: made.setdefault(name, Namespace())
    for each in made.values():
        run("kubectl", "delete", "namespace", each.name, "--wait=false", "--ignore-not-found")
        deleted.append(each.name)


def variables(folder, scenario, namespace):
    programs = [] if scenario.fresh else [str(Path(sys.executable).parent)]
    others = [each for each in os.environ["PATH"].split(":") if Path(each) != Path(sys.executable).parent]
    return {
        **os.environ,
        "PATH": ":".join([*programs, *others]),
        "HOME": str(folder / "home"),
        "KUBECONFIG": str(kubeconfig(folder, namespace)),
        "ROOT": str(ROOT),
        "DASK_DISTRIBUTED__SCHEDULER__DASHBOARD_ADDRESS": ":0",
    }


@pytest.mark.timeout(600)  # the tutorial installs all that dask-flow needs
@pytest.mark.parametrize("scenario", CLUSTER, ids=str)
def test_commands_of_the_docs_run_on_a_cluster(scenario, namespace, named, tmp_path):
    place, home = tmp_path / "project", tmp_path / "home"
    place.mkdir()
    home.mkdir()
    link_project(place, scenario.files)
    script = scenario.script()
    for name in scenario.namespaces:
        script = re.sub(rf"(-n|namespace) {name}\b", rf"\1 {named(name).name}", script)

    done = subprocess.run(
        ["bash", "-c", HELM.format(image=as_values(IMAGE), flights=as_values(FLIGHTS_IMAGE)) + script],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=place,
        env=variables(tmp_path, scenario, namespace), check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout
    scenario.check(done.stdout)
    where = named(scenario.namespaces[0]) if scenario.namespaces else namespace
    assert {job: where.finish(job).exit_code for job in scenario.ends} == scenario.ends, done.stdout
