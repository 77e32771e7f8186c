"""A flow's own image, from a private registry: built, pushed, and pulled by a run's pods with a Secret."""

import os
import re
import shlex
import subprocess
import sys

import pytest
from namespaces import HELLO, IMAGE, OWN_NODE, ROOT, flow, run
from registry import PASSWORD, Registry

# The node's containerd takes 127.0.0.1 for this machine, and speaks HTTP with it. One registry is for all tests.
pytestmark = OWN_NODE

NODE = f". {ROOT}/tests/node/common.sh && "
# The example of the Dask Kubernetes Environment's page, but for the root of the imports.
STORAGE = """
from dask_flow import task, Flow
from dask_flow.environments import DaskKubernetesEnvironment
from dask_flow.storage import Docker


@task
def get_value():
    return "Example!"


@task
def output_value(value):
    print(value)


flow = Flow(
    "Custom Worker Spec Dask Kubernetes Example",
    environment=DaskKubernetesEnvironment(worker_spec_file="worker_spec.yaml"),
    storage=Docker(
        registry_url="gcr.io/dev/", image_name="dask-k8s-flow", image_tag="0.1.0"
    ),
)

# set task dependencies using imperative API
output_value.set_upstream(get_value, flow=flow)
output_value.bind(value=get_value, flow=flow)
"""
# Its manifest, too, but for the packages from the Internet.
SPEC = re.sub(r" +env:\n.*\n.*fastparquet.*\n", "", (ROOT / "tests/unit/worker_spec.yaml").read_text())
FUNCTION = """
import os, socket
from pathlib import Path
import iniconfig
from beside import double

def work(n):
    return f"{iniconfig.__name__} {double(n)} {os.environ['UNIT']} {Path('/srv/data/x.txt').read_text()}"

def main(client, n: int):
    return client.submit(work, n).result()
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    with Registry(tmp_path_factory.mktemp("registry")) as made:
        yield made
    for images, remove in (
        ("buildah images --format '{{.Name}}:{{.Tag}}'", "buildah rmi"),
        ("ctr -a $run/containerd.sock -n k8s.io images ls -q", "ctr -a $run/containerd.sock -n k8s.io images rm"),
    ):
        run("bash", "-c", f"{NODE} {images} | grep -F {made.host}/ | xargs -r {remove}")


def dask_flow(*args, env, cwd=None):
    command = [sys.executable, "-m", "dask_flow", *args]
    env = {**os.environ, **env}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=240)


def build(folder, *args, env, code=0):
    options = run("bash", "-c", f"{NODE} buildah_options").stdout.split()
    command = ("build", *args, "--builder", "buildah", "--base-image", IMAGE, "--", *options)
    done = dask_flow(*command, env=env, cwd=folder)
    assert done.returncode == code, done.stderr
    return done


def chart_options(done):
    return shlex.split(re.search(r"in the chart: (.*)", done.stderr)[1])


def make_secret(namespace, registry, name="pull"):
    """Have `dask-flow setup` make the Secret of the login."""
    done = dask_flow(
        *("setup", "--image-pull-secret", name, "--image", f"{registry.host}/dev/x", "-n", namespace.name),
        env=registry.login(),
    )
    assert done.returncode == 0, done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    return [{"name": name}]


def pulled(namespace):
    events = namespace.get("events")["items"]
    return {each["involvedObject"]["name"] for each in events if "Successfully pulled image" in each.get("message", "")}


def write_example(folder, registry):
    for name, text in (("flow.py", STORAGE), ("worker_spec.yaml", SPEC)):
        assert "gcr.io/" in text
        (folder / name).write_text(text.replace("gcr.io/", f"{registry.host}/"))


@pytest.mark.alone
def test_seeds_docker_storage_is_built_pushed_and_run(namespace, registry, tmp_path):
    write_example(tmp_path, registry)

    done = build(tmp_path, "flow.py", env=registry.login())
    namespace.install("r", *chart_options(done), imagePullSecrets=make_secret(namespace, registry))
    end = namespace.finish(namespace.start(), seconds=200)

    assert re.fullmatch(rf"{registry.host}/dev/dask-k8s-flow@sha256:[0-9a-f]{{64}}\n", done.stdout)
    assert end.exit_code == 0, end.log
    assert "task output_value: Example!" in end.log
    assert namespace.runners()[-1]["spec"]["containers"][0]["image"] == done.stdout.strip()
    workers = {f"{end.pod}-worker-0", f"{end.pod}-worker-1"}  # the node may have room for one of them only
    assert end.pod in pulled(namespace)
    assert workers & pulled(namespace)


@pytest.mark.alone
def test_submitted_flow_runs_in_its_pushed_image_by_digest(namespace, registry, tmp_path):
    write_example(tmp_path, registry)
    built = build(tmp_path, "flow.py", env=registry.login()).stdout.strip()
    namespace.install("r")

    done = dask_flow(
        *("submit", "flow.py", "-n", namespace.name, "--name", "run", "--image-pull-secret", "pull", "--watch"),
        env=registry.login(),
        cwd=tmp_path,
    )

    assert done.returncode == 0, done.stderr
    assert "task output_value: Example!" in done.stdout
    assert namespace.runners()[-1]["spec"]["containers"][0]["image"] == built
    assert "pull secret pull made" in done.stderr


def test_image_built_by_options_has_what_the_tasks_need(namespace, registry, tmp_path):
    image = f"{registry.host}/dev/function:1"
    (tmp_path / "function.py").write_text(FUNCTION)
    (tmp_path / "beside.py").write_text("def double(n): return 2 * n\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/x.txt").write_text("from the image")
    options = ("--python-dependency", "iniconfig", "--file", "data:/srv/data", "--env", "UNIT=bytes")

    done = build(tmp_path, "function.py:main", "--image", image, *options, env=registry.login())
    secrets = make_secret(namespace, registry)
    namespace.install("r", *chart_options(done), imagePullSecrets=secrets, flow={"params": {"n": 21}})
    end = namespace.finish(namespace.start(), seconds=200)

    assert end.exit_code == 0, end.log
    assert "result of main: iniconfig 42 bytes from the image" in end.log


def test_wrong_password_says_which_registry_and_how_to_log_in(registry, tmp_path):
    write_example(tmp_path, registry)
    image = f"{registry.host}/dev/refused:1"

    done = build(tmp_path, "flow.py", "--image", image, env=registry.login("wrong"), code=2)

    assert f"the registry {registry.host} refuses {image}: unauthorized: authentication required; log in" in done.stderr
    assert f"buildah login {registry.host}" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("secrets", "said"),
    [
        ([], "the pod names no pull secret"),
        ([{"name": "absent"}], "the pod's pull secrets, absent, are not there"),
    ],
    ids=["none", "absent"],
)
def test_image_that_may_not_be_pulled_is_named_with_the_secret(namespace, registry, secrets, said):
    image = f"{registry.host}/dev/private:1"
    namespace.install(flow=flow(HELLO), cluster={"image": image}, imagePullSecrets=secrets)

    end = namespace.finish(namespace.start())

    assert end.exit_code == 3, end.log
    assert image in end.reason
    assert re.search(said, end.reason)
