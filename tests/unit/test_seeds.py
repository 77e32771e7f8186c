"""The documents that the project comes from: their flows, with nothing but the root of the imports changed."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from seeds import seed, side, with_our_imports

# Flows of the same forms, which the tests have without those documents.
TASKS = '@task\ndef get_value(): return "Example!"\n@task\ndef output_value(value): print(value)\n'
DOCKER = 'Docker(registry_url="gcr.io/dev/", image_name="dask-k8s-flow", image_tag="0.1.0")'
IMPERATIVE = "output_value.set_upstream(get_value, flow=flow)\noutput_value.bind(value=get_value, flow=flow)\n"
FORMS = {
    "minimum": "from dask_flow import task, Flow\nfrom dask_flow.environments import DaskKubernetesEnvironment\n"
    f'{TASKS}flow = Flow("f", environment=DaskKubernetesEnvironment(min_workers=1, max_workers=3))\n{IMPERATIVE}',
    "worker spec": "from dask_flow import task, Flow\nfrom dask_flow.environments import DaskKubernetesEnvironment\n"
    f"from dask_flow.environments.storage import Docker\n{TASKS}flow = Flow('f', storage={DOCKER},\n"
    f'environment=DaskKubernetesEnvironment(worker_spec_file="worker_spec.yaml"))\n{IMPERATIVE}',
}
STATIC_FORMS = {
    "run config": "from dask_flow import task, Flow\nfrom dask_flow.executors import DaskExecutor\n"
    f"from dask_flow.run_configs import KubernetesRun\nfrom dask_flow.storage import Docker\n{TASKS}"
    'with Flow("f") as flow:\n    value = get_value()\n    output_value(value)\nflow.run_config = KubernetesRun()\n'
    f'flow.executor = DaskExecutor("tcp://dask-scheduler:8786")\nflow.storage = {DOCKER}\n',
    "environment": "from dask_flow import task, Flow\nfrom dask_flow.engine.executors import DaskExecutor\n"
    "from dask_flow.environments import LocalEnvironment\nfrom dask_flow.environments.storage import Docker\n"
    f'{TASKS}flow = Flow("f", environment=LocalEnvironment(executor=DaskExecutor("tcp://dask-scheduler:8786")),\n'
    f"storage={DOCKER})\n{IMPERATIVE}",
}


def run(folder, text, *args, spec=""):
    (folder / "flow_file.py").write_text(text)
    (folder / "worker_spec.yaml").write_text(spec or (Path(__file__).parent / "worker_spec.yaml").read_text())
    env = {**os.environ, "DASK_DISTRIBUTED__SCHEDULER__DASHBOARD_ADDRESS": ":0"}
    command = [sys.executable, "-m", "dask_flow", "run", "flow_file.py", *args]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=120)


def assert_printed(done):
    assert done.returncode == 0, done.stderr
    assert "task output_value: Example!" in done.stderr
    assert "output_value: 1 task" in done.stderr


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A scheduler and a worker in processes of their own."""
    folder = tmp_path_factory.mktemp("static")
    file = folder / "scheduler.json"
    started = []
    for name, args in (("scheduler", ("--host", "127.0.0.1", "--port", "0", "--no-dashboard")), ("worker", ())):
        command = [sys.executable, "-m", f"distributed.cli.dask_{name}", "--scheduler-file", str(file), *args]
        started.append(subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL))
        while not file.exists():
            assert started[0].poll() is None
            time.sleep(0.05)
    yield file.read_text().split('"address": "')[1].split('"')[0]
    for process in reversed(started):
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_flow_of_a_temporary_cluster_runs(tmp_path, text):
    assert_printed(run(tmp_path, text))


def test_seeds_flows_of_a_temporary_cluster_run(tmp_path):
    text = seed("dask-kubernetes-environment.txt")
    starts = [at for at in range(len(text)) if text.startswith("from prefect import task, Flow", at)]
    ends = [text.index("\n# Dask Kubernetes Environment w/ Custom", starts[0]), len(text)]
    spec = text[text.index("kind: Pod\n") : starts[1]]
    for start, end in zip(starts, ends, strict=True):
        done = run(tmp_path, with_our_imports(text[start:end]), spec=spec)
        assert_printed(done)
    assert "the local cluster has no pods: " in done.stderr


@pytest.mark.parametrize("text", STATIC_FORMS.values(), ids=STATIC_FORMS)
def test_flow_of_a_static_cluster_runs(tmp_path, text, address):
    assert_printed(run(tmp_path, text, "--address", address))


@pytest.mark.parametrize("theirs", [False, True], ids=["ours", "theirs"])
def test_seeds_flow_of_a_static_cluster_runs_from_both_sides_of_its_conflict(tmp_path, theirs, address):
    text = side(seed("static-dask-cluster.txt"), theirs)
    source = text[text.rindex("```python\n") + len("```python\n") : text.rindex("```")]
    assert ("LocalEnvironment" in source) is theirs

    assert_printed(run(tmp_path, with_our_imports(source), "--address", address))


def test_address_that_a_flow_declares_is_where_it_runs(tmp_path, address):
    text = STATIC_FORMS["environment"].replace("tcp://dask-scheduler:8786", address)

    done = run(tmp_path, text)

    assert_printed(done)
    assert f"connected to {address}" in done.stderr
