"""Pod specs of all forms on a real cluster."""

import json
import re
import subprocess
import sys

import pytest
import yaml
from namespaces import HELLO, OWN_NODE, ROOT, SEED_IMAGE, flow, run

SEED = (ROOT / "tests/unit/worker_spec.yaml").read_text()
HOST = "import socket\ndef main(client): return client.submit(socket.gethostname).result()\n"


@pytest.mark.alone
def test_seeds_worker_spec_runs_verbatim_but_for_the_image(namespace):
    spec = SEED.replace("gcr.io/dev/dask-k8s-flow:0.1.0", SEED_IMAGE)
    namespace.install(flow=flow(HELLO), cluster={"workerSpec": spec})

    end = namespace.finish(namespace.start(), seconds=200)

    assert end.exit_code == 0, end.log
    assert re.search(r"worker pods requested: \S+-worker-0, \S+-worker-1\n", end.log)
    warnings = re.findall(r"warning: /etc/dask-flow/worker_spec.yaml: (.*)", end.log)
    assert warnings == [
        "spec.replicas is not a Pod's; it sets the minimum of workers to 2: use --min-workers",
        "dask-worker is now dask worker",
        "--no-bokeh is now --no-dashboard",
    ]
    assert namespace.workers() == []


def test_extra_packages_may_be_other_versions_than_the_images(namespace):
    text = "import toolz\ndef main(client): return client.submit(lambda: toolz.__file__).result()\n"
    container = {
        "name": "worker",
        "image": SEED_IMAGE,
        "env": [{"name": "EXTRA_PIP_PACKAGES", "value": "toolz==0.12.0"}],
    }
    namespace.install(flow=flow(text), cluster={"workerSpec": json.dumps({"spec": {"containers": [container]}})})

    end = namespace.finish(namespace.start())

    assert end.exit_code == 0, end.log
    assert "result of main: /tmp/tmp." in end.log


def test_sidecar_first_init_container_and_several_workers_to_a_pod_in_a_shells_text(namespace):
    shells_text = "cd /tmp && exec env OWN=1 dask-worker $(DASK_SCHEDULER_ADDRESS) --nprocs 2 --nthreads 1 --no-bokeh"
    echo = ["python", "-c", "import time; print('here', flush=True); time.sleep(600)"]
    spec = {
        "metadata": {"labels": {"team": "blue"}},
        "spec": {
            "initContainers": [{"name": "prepare", "args": ["python", "-c", "print('ready')"]}],
            "containers": [
                {"name": "sidecar", "args": echo},
                {"name": "main", "command": ["tini", "-g", "--", "sh", "-ec", shells_text]},
            ],
        },
    }
    text = """
def main(client):
    client.wait_for_workers(4)
    workers = client.sync(client.scheduler.identity, n_workers=-1)["workers"].values()
    names = sorted(each["name"] for each in workers)
    return [name.rpartition("worker-")[2] for name in names]
"""
    namespace.install(flow=flow(text), cluster={"workerSpec": json.dumps(spec), "minWorkers": 2, "maxWorkers": 2})

    end = namespace.finish(namespace.start())

    assert end.exit_code == 0, end.log
    assert "result of main: ['0-0', '0-1', '1-0', '1-1']" in end.log
    assert namespace.workers() == []


def test_schedulers_job_manifest_gives_it_a_pod_with_its_resources(namespace):
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "prefect-dask-job"},
        "spec": {
            "template": {
                "metadata": {"labels": {"foo": "bar"}},
                "spec": {
                    "containers": [
                        {
                            "name": "flow",
                            "command": ["/bin/sh", "-c"],
                            "args": ["python -c 'import prefect; prefect.environments.execution.load_and_run_flow()'"],
                            "resources": {"requests": {"cpu": "50m", "memory": "100Mi"}},
                        }
                    ]
                },
            }
        },
    }
    text = HOST.replace("return", "import time; print('READY', flush=True); time.sleep(20); return")
    namespace.install(flow=flow(text), cluster={"schedulerSpec": json.dumps(job)})
    before = namespace.objects()
    namespace.start()
    runner = namespace.wait_for_log("READY")

    def status(path):
        asked = f"from http.client import *; c = HTTPConnection('localhost', 8787); c.request('GET', '{path}')"
        asked += "; print(c.getresponse().status)"
        return namespace.kubectl("exec", f"{runner}-scheduler", "--", "python", "-c", asked).strip()

    pod = namespace.get("pod", f"{runner}-scheduler")
    statuses = status("/status"), status("/proxy/80/example.org/")
    end = namespace.finish()

    assert pod["metadata"]["labels"]["foo"] == "bar"
    assert pod["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "50m", "memory": "100Mi"}
    assert statuses == ("200", "404")
    assert end.exit_code == 0, end.log
    assert f"result of main: {runner}-worker-0" in end.log
    assert namespace.objects() - before == {f"pod/{runner}"}


@OWN_NODE
def test_schema_of_the_specs_is_what_the_api_server_publishes():
    committed = (ROOT / "runner/src/dask_flow/pod_schema.json").read_text()

    assert run(sys.executable, ROOT / "tests/tools/pod_schema.py").stdout == committed, "run `make schema`"


def validate(namespace, tmp_path, spec, *options):
    path = tmp_path / "worker_spec.yaml"
    path.write_text(json.dumps(spec))
    return subprocess.run(
        [sys.executable, "-m", "dask_flow", "validate", "-n", namespace.name, "--worker-spec", path, *options],
        capture_output=True,
        text=True,
        check=False,
    )


def test_validated_pods_are_as_the_run_creates_them(namespace, tmp_path):
    spec = {"spec": {"containers": [{"name": "worker", "env": [{"name": "A", "value": "b"}]}]}}
    image = namespace.install(
        flow=flow("import time\ndef main(): print('READY', flush=True); time.sleep(60)\n"),
        cluster={"workerSpec": json.dumps(spec)},
    )
    assert image
    namespace.start()
    runner = namespace.wait_for_log("READY")
    created = namespace.get("pod", f"{runner}-worker-0")

    done = validate(namespace, tmp_path, spec, "--image", created["spec"]["containers"][0]["image"])
    pod = yaml.safe_load(done.stdout.replace("run-xxxxx", "shown"))
    del pod["metadata"]["ownerReferences"]  # or the garbage collector looks for that owner
    namespace.apply(pod)
    shown = namespace.get("pod", "shown-worker-0")

    assert done.returncode == 0, done.stderr
    assert "worker pods: 1 to 2, as the work needs" in done.stderr

    def described(pod, name):
        text = json.dumps({key: pod["spec"][key] for key in ("containers", "volumes", "securityContext")})
        text = re.sub(r"tls://[^:]+:", "tls://SCHEDULER:", text)
        return json.loads(text.replace(name, "NAME"))

    assert described(shown, "shown") == described(created, runner)


def test_validate_asks_the_cluster_about_policy_and_quota(namespace, tmp_path):
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "small"},
        "spec": {"hard": {"pods": "1"}},
    }
    namespace.apply(quota)
    namespace.wait_for(lambda: "hard" in namespace.get("resourcequota", "small")["status"], "the quota")
    spec = {"spec": {"hostNetwork": True, "containers": [{"name": "worker"}]}}

    done = validate(namespace, tmp_path, spec, "--min-workers", "3", "--max-workers", "3")

    assert done.returncode == 3, done.stderr
    assert 'violates PodSecurity "restricted' in done.stderr
    assert "quota small leaves 1 of pods, but the run needs 4 for its 3 workers" in done.stderr
    assert "Traceback" not in done.stderr


def test_validate_compares_a_quota_with_what_pods_get_by_default(namespace, tmp_path):
    limits = {"type": "Container", "default": {"memory": "3Gi"}}
    namespace.apply(
        {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "default"}, "spec": {"limits": [limits]}},
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "small"},
            "spec": {"hard": {"requests.memory": "4Gi"}},
        },
    )
    namespace.wait_for(lambda: "hard" in namespace.get("resourcequota", "small")["status"], "the quota")

    done = validate(namespace, tmp_path, {"spec": {"containers": [{"name": "worker"}]}}, "--min-workers", "2")

    assert done.returncode == 3, done.stderr
    assert "quota small leaves 4.00 GiB of requests.memory, but the run needs 6.00 GiB for its 2 workers" in done.stderr
