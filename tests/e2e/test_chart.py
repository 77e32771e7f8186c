"""The chart on a cluster: chart-testing, the API server's own validation, its notes, and Argo's view of its Jobs."""

import re
import shutil
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
import yaml
from argo_workflows import argos_kinds, ended
from chart.rendering import workflow_job
from dask_operator import installed_operator
from namespaces import CHART, IMAGE, ROOT, flow, run

RUNS = sorted(CHART.glob("ci/*-values.yaml"))
SPOT = ("cloud.google.com/gke-spot=true", "cloud.google.com/gke-provisioning=standard")
ALL_KINDS = (
    "pods,replicasets,deployments,services,endpoints,secrets,configmaps,jobs,cronjobs,poddisruptionbudgets,ingresses,"
    "persistentvolumeclaims,networkpolicies,serviceaccounts,roles,rolebindings"
)
SET_IMAGE = "--set image.repository={0} --set image.tag={2} --set operator.enabled=false".format(*IMAGE.rpartition(":"))
RENDERED = [f"charts/dask-flow/{name}" for name in ("templates", "values.yaml", "values.schema.json")]
QUICK = {"backoffLimit": 0}
ONE = "def main(): return 1\n"


@contextmanager
def spot_nodes():
    """Have every node be a spot node and one of the others, for values that tell them apart."""
    run("kubectl", "label", "nodes", "--all", "--overwrite", *SPOT)
    try:
        yield
    finally:
        run("kubectl", "label", "nodes", "--all", *(f"{label.partition('=')[0]}-" for label in SPOT))


NEEDS = {"argo-workflows-values": argos_kinds, "operator-values": installed_operator, "large-values": spot_nodes}


@pytest.fixture(scope="module")
def argo(_cluster):
    with argos_kinds():
        yield


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_the_api_server_accepts_every_object_strictly(namespace, argo, path):
    # Without the operator's chart, which is not in the repository.
    line = ("helm", "template", "r", CHART, "-n", namespace.name, "-f", path, "--set", "operator.enabled=false")
    rendered = run(*line).stdout
    # The pod of `helm test` is not taken without it.
    namespace.kubectl("create", "serviceaccount", "r-dask-flow")

    done = run(
        *("kubectl", "-n", namespace.name, "apply", "--dry-run=server", "--validate=strict", "-f", "-"), stdin=rendered
    )

    assert re.search(r"^(cronjob.batch|job.batch|workflowtemplate.argoproj.io)/", done.stdout, re.MULTILINE)
    assert "would violate PodSecurity" not in done.stderr


def previous_chart(folder, values):
    """Check out the last released chart, else the last that renders otherwise, as a commit that ct upgrades from.

    Of its files of values it has only the one of this name; ct installs it with its defaults if it had none.
    """

    def git(*args):
        who = ("-c", "user.name=test", "-c", "user.email=test@localhost")
        return run("git", "-C", folder, *who, *args).stdout.strip()

    run("git", "clone", "--quiet", "--shared", "--no-checkout", ROOT, folder)
    releases = git("tag", "--list", "v*", "--sort=-version:refname").split()
    change = git("log", "-1", "--format=%H", "--", *RENDERED)
    git("checkout", "--quiet", "--detach", (*releases, f"{change}^")[0])
    chart = folder / "charts/dask-flow"
    texts = {path.name: path.read_text() for path in (chart / "ci").glob(values.name)}
    shutil.rmtree(chart / "ci")
    (chart / "ci").mkdir()
    for name, text in texts.items():
        (chart / "ci" / name).write_text(text)
    git("add", "--all")
    git("commit", "--quiet", "--message", "The chart before")
    git("update-ref", "refs/remotes/origin/main", "HEAD")
    return chart


def left(namespace):
    names = namespace.kubectl("get", ALL_KINDS, "-o", "name").split()
    return {name for name in names if not name.endswith(("/kube-root-ca.crt", "serviceaccount/default"))}


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_ct_installs_tests_and_upgrades_the_chart_and_nothing_is_left(namespace, tmp_path, path):
    chart = previous_chart(tmp_path / "clone", path)
    shutil.rmtree(chart)
    shutil.copytree(CHART, chart, ignore=lambda folder, names: names if folder.endswith("/ci") else [])
    shutil.copy(path, chart / "ci")

    def install():
        return run(
            *("ct", "install", "--upgrade", "--config", ROOT / "ct.yaml", "--charts", "charts/dask-flow"),
            *("--namespace", namespace.name, "--helm-extra-set-args", SET_IMAGE),
            check=False,
            cwd=tmp_path / "clone",
        )

    with NEEDS.get(path.stem, nullcontext)():
        done = install()
        if done.returncode and path.stem == "operator-values":  # the operator misses an event now and then
            namespace.kubectl("delete", "pods", "--all", "--timeout=60s")
            done = install()
        namespace.wait_for(lambda: not left(namespace), "the end of what the releases made", seconds=30)

    out = done.stdout + done.stderr
    assert done.returncode == 0, out
    assert "has been upgraded" in out
    assert "skipped because of previous revision" not in out
    assert "result of message: this release runs flows" in out


def test_helm_test_says_why_a_release_cannot_run(namespace):
    namespace.install(
        flow=flow(ONE),
        cluster={
            "workerSpec": '{"spec": {"nodeSelector": {"a": "b"}, "containers": [{"name": "worker"}]}}',
            "startupTimeoutSeconds": 10,
        },
    )

    done = run("helm", "test", "-n", namespace.name, "r", "--timeout", "60s", check=False)

    assert done.returncode != 0
    assert "didn't match Pod's node affinity/selector" in done.stdout + done.stderr


def commands(notes):
    """Return the commands that the notes give, with the chart in its gap, but for those that never end."""
    lines = [line.strip() for line in notes.splitlines() if re.match(r"  \S", line) and not line.startswith("  --set")]
    return [line.replace(" CHART ", f" {CHART} ") for line in lines if "port-forward" not in line]


@pytest.mark.parametrize(
    ("mode", "values"),
    [
        ("template", {}),
        ("template", {"static": {"enabled": True, "worker": {"replicas": 1}}}),
        ("cronjob", {"schedule": "0 0 1 1 *"}),
        ("job", {}),
        ("workflow", {}),
    ],
)
def test_notes_commands_run_the_flow_test_the_release_and_clean_up(namespace, argo, mode, values):
    run_values = {"mode": mode, **QUICK, **({"schedule": values.pop("schedule")} if "schedule" in values else {})}
    notes = namespace.install("r", "--wait", flow=flow(ONE), run=run_values, **values)

    outputs = follow(namespace, notes)

    assert len(outputs) >= (4 if mode == "job" else 5)


def test_notes_of_a_release_without_a_flow_give_it_one(namespace, tmp_path):
    (tmp_path / "flow.py").write_text(ONE)
    upgrade, *others = commands(namespace.install("r", "--wait", run=QUICK))

    notes = run("sh", "-c", upgrade, cwd=tmp_path).stdout
    outputs = follow(namespace, notes)

    assert "flow.files" in upgrade
    assert others == commands(notes)[-2:]
    assert len(outputs) == 6


def follow(namespace, notes):
    """Do what the notes say, to the release's end, and return what each command printed."""
    outputs = []
    for command in commands(notes):
        done = run("sh", "-c", f"PATH={Path(sys.executable).parent}:$PATH; {command}")
        outputs.append(done.stdout + done.stderr)
        if "echo" in command:
            start_as_argo(namespace, re.search(r'"name":"([^"]+)"', command)[1])
    assert any("result of main: 1" in each for each in outputs)
    assert "result of message: this release runs flows" in outputs[-2]
    namespace.wait_for(lambda: not left(namespace), "the end of what the release and its runs made")
    return outputs


def start_as_argo(namespace, name, **parameters):
    """Do what Argo's executor does first, with the rights that it has: make the Job."""
    template = namespace.get("workflowtemplate", "r-dask-flow")
    (spec,) = (each for each in template["spec"]["templates"] if each["name"] == template["spec"]["entrypoint"])
    job = workflow_job(template, name, **parameters)
    account = f"system:serviceaccount:{namespace.name}:{template['spec']['serviceAccountName']}"
    workflow = namespace.kubectl("get", "workflow", name, "--ignore-not-found", "-o", "jsonpath={.metadata.uid}")
    if workflow:  # as setOwnerReference does
        owner = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": name, "uid": workflow}
        job["metadata"]["ownerReferences"] = [owner]
    assert spec["resource"]["setOwnerReference"] is True
    namespace.kubectl("create", "--as", account, "-f", "-", stdin=yaml.safe_dump(job))
    namespace.kubectl("get", "--as", account, "job", name)


ENDS = """
import sys, time
def main(how: str):
    if how == "late":
        time.sleep(600)
    return how if how == "well" else sys.exit(1)
"""


@pytest.mark.parametrize(
    ("how", "run_values", "judgement"),
    [
        ("well", {}, "succeeded: Reached expected number of succeeded pods"),
        ("badly", {}, "failed: Container runner for pod .* failed with exit code 1 matching FailJob rule"),
        ("badly", {"suspend": True}, "failed: Container runner for pod .* failed with exit code 1"),
        ("late", {"activeDeadlineSeconds": 1}, "failed: Job was active longer than specified deadline"),
    ],
)
def test_argo_judges_a_run_by_its_job_and_outputs_the_reason(namespace, argo, how, run_values, judgement):
    values = {"mode": "workflow", **QUICK, **run_values}
    namespace.install(flow=flow(ENDS, params={"how": "well"}), run=values, cluster={"mode": "local"})
    template = namespace.get("workflowtemplate", "r-dask-flow")
    (after,) = (each for each in template["spec"]["templates"] if each["name"] == template["spec"]["onExit"])
    path = after["outputs"]["parameters"][0]["valueFrom"]["jsonPath"]

    start_as_argo(namespace, "run", how=how)
    if "suspend" in run_values:
        namespace.kubectl("patch", "job", "run", "--type=merge", "-p", '{"spec": {"suspend": false}}')
    found = ended(namespace, template, "run")
    manifest = yaml.safe_load(after["resource"]["manifest"].replace("{{workflow.name}}", "run"))
    job = ("job", manifest["metadata"]["name"])
    reason = namespace.wait_for(lambda: namespace.kubectl("get", *job, "-o", f"jsonpath={path}"), "the reason")

    assert (manifest["kind"], after["resource"]["action"]) == ("Job", "get")
    assert re.match(judgement, f"{found}: {reason}")
