"""`dask-flow submit`, with an API server in memory."""

import base64
import json
import logging

import pytest
from api_server import COMPLETE, FAILED, cron_job, ended, forbidden, job, runner_pod, warning
from dask_flow import user_kube
from dask_flow.remote import follow as following
from dask_flow.remote.given import option_of

FLOW = (
    "from dask_flow import Flow, Parameter, task\n"
    "with Flow('sums') as flow:\n    task(sum)([Parameter('n', default=1)])\n"
)
HEAD = (
    "from dask_flow import Flow, task\nfrom dask_flow.environments import DaskKubernetesEnvironment\n"
    "@task\ndef one(): return 1\n"
)


@pytest.fixture
def flow(tmp_path):
    folder = tmp_path / "flows"
    folder.mkdir()
    (folder / "sums.py").write_text(FLOW)
    return folder / "sums.py"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(following, "LOOK_SECONDS", 0.01)


def runner_of(made):
    return made["spec"]["template"]["spec"]["containers"][0]


def test_job_is_the_release_s_with_this_flow_in_a_config_map_of_its_own(dask_flow, cluster, flow):
    flow.write_text(f"from pkg.helpers import x\n{FLOW}")
    (flow.parent / "pkg").mkdir()
    (flow.parent / "pkg/__init__.py").write_text("")
    (flow.parent / "pkg/helpers.py").write_text("x = 1\n")
    (flow.parent / "pkg/data.bin").write_bytes(b"\xff\x00")
    cluster.add("cronjobs", cron_job("nightly", {"name": "DASK_FLOW_PARAMS", "value": "{days: 7}"}))

    done = dask_flow(
        "submit", f"{flow}:flow", "--release", "nightly", "--param", "n=2", "--max-workers", 4, "--name", "r"
    )

    assert done.exit_code == 0, done.output
    made, files = cluster.get("jobs", "r"), cluster.get("configmaps", "r")
    runner = runner_of(made)
    assert made["metadata"]["annotations"]["cronjob.kubernetes.io/instantiate"] == "manual"
    assert made["metadata"]["annotations"]["dask-flow/target"] == "sums.py:flow"
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly-dask-flow", "uid": "uid-of-nightly"}
    assert made["metadata"]["ownerReferences"] == [{**owner, "controller": True}]
    assert made["metadata"]["labels"]["app.kubernetes.io/instance"] == "nightly"
    assert made["spec"]["backoffLimit"] == 0
    assert runner["args"] == ["run", "/etc/dask-flow-run/flow/sums.py:flow", "--max-workers=4", "--param=n=2"]
    assert "DASK_FLOW_PARAMS" not in {each["name"] for each in runner["env"]}
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "r", "uid": made["metadata"]["uid"]}
    assert files["metadata"]["ownerReferences"] == [owner]
    volume = made["spec"]["template"]["spec"]["volumes"][0]["configMap"]
    content = {**files["data"], **{key: base64.b64decode(text) for key, text in files["binaryData"].items()}}
    assert {each["path"]: content[each["key"]] for each in volume["items"]} == {
        "flow/sums.py": flow.read_text(),
        "flow/pkg/__init__.py": "",
        "flow/pkg/helpers.py": "x = 1\n",
        "flow/pkg/data.bin": b"\xff\x00",
    }
    assert [each["mountPath"] for each in runner["volumeMounts"]] == ["/etc/dask-flow-run"]


def test_what_kubernetes_would_expand_reaches_the_runner_as_it_was_typed(dask_flow, cluster, flow):
    cluster.add("cronjobs", cron_job())

    done = dask_flow("submit", flow, "--param", "n=$(HOME) $$a$$", "--report", "s3://bucket/$x", "--name", "r")

    assert done.exit_code == 0, done.output
    runner = runner_of(cluster.get("jobs", "r"))
    assert "--report=s3://bucket/$$x" in runner["args"]
    assert "--param=n=$$(HOME) $$$$a$$$$" in runner["args"]
    assert option_of(runner, "report") == "s3://bucket/$x"


def test_pods_cannot_start_before_their_config_map_is_there(dask_flow, cluster, flow):
    cluster.add("cronjobs", cron_job())

    dask_flow("submit", flow)

    assert [(method, kind) for method, kind, _ in cluster.asked if method != "GET"] == [
        ("POST", "configmaps"),
        ("POST", "jobs"),
        ("PATCH", "configmaps"),
    ]


def test_nothing_is_left_if_the_job_is_refused(dask_flow, cluster, flow):
    cluster.add("cronjobs", cron_job())
    cluster.refusals["POST", "jobs"] = forbidden("create", "jobs", "batch")

    done = dask_flow("submit", flow)

    assert done.exit_code == 3
    assert "eve may not create jobs in namespace jobs; ask for a Role that grants it" in done.stderr
    assert not [kind for kind, *_ in cluster.objects if kind == "configmaps"]


def test_run_of_the_same_name_is_refused_and_left_as_it_is(dask_flow, cluster, flow):
    cluster.add("cronjobs", cron_job())
    dask_flow("submit", flow, "--name", "r")
    before = json.dumps(cluster.get("configmaps", "r"))

    done = dask_flow("submit", flow, "--name", "r")

    assert (done.exit_code, "there is a run r in namespace jobs; give another --name" in done.stderr) == (2, True)
    assert json.dumps(cluster.get("configmaps", "r")) == before


def test_specs_and_the_files_that_the_flow_declares_go_along(dask_flow, cluster, flow):
    (flow.parent / "w.yaml").write_text("spec: {containers: [{name: worker}]}")
    (flow.parent / "own.yaml").write_text("spec: {}")
    flow.write_text(
        HEAD + "flow = Flow('f', tasks=[one], environment=DaskKubernetesEnvironment(worker_spec_file='own.yaml'))\n"
    )
    cluster.add("cronjobs", cron_job())

    done = dask_flow("submit", flow, "--worker-spec", flow.parent / "w.yaml", "--name", "r")

    assert done.exit_code == 0, done.output
    assert runner_of(cluster.get("jobs", "r"))["args"][2:] == ["--worker-spec=/etc/dask-flow-run/worker_spec.yaml"]
    assert set(cluster.get("configmaps", "r")["data"]) == {"worker_spec.yaml", "flow_own.yaml", "flow_sums.py"}


def test_flow_s_spec_at_an_absolute_path_is_refused(dask_flow, cluster, flow):
    (flow.parent / "own.yaml").write_text("spec: {}")
    path = flow.parent / "own.yaml"
    flow.write_text(
        HEAD + f"flow = Flow('f', tasks=[one], environment=DaskKubernetesEnvironment(worker_spec_file={str(path)!r}))\n"
    )

    done = dask_flow("submit", flow)

    assert (done.exit_code, "which it will not find in a pod" in done.stderr) == (2, True)
    assert cluster.asked == []


def test_image_is_the_runner_s_too_and_wins_over_the_flow_s(dask_flow, cluster, flow):
    flow.write_text(
        "from dask_flow.storage import Docker\n" + FLOW + "flow.storage = Docker(image_name='x', image_tag='1')\n"
    )
    cluster.add("cronjobs", cron_job())

    dask_flow("submit", flow, "--name", "a")
    dask_flow("submit", flow, "--name", "b", "--image", "y:2")

    assert runner_of(cluster.get("jobs", "a"))["image"] == "x:1"
    assert runner_of(cluster.get("jobs", "b"))["image"] == "y:2"


def test_installed_module_and_url_need_no_files(dask_flow, cluster):
    cluster.add("cronjobs", cron_job())

    for name, target in (("a", "some_package.of_the_image:flow"), ("b", "s3://bucket/flow.py:flow")):
        assert dask_flow("submit", target, "--name", name).exit_code == 0
        assert runner_of(cluster.get("jobs", name))["args"] == ["run", target]
        assert cluster.get("configmaps", name) is None


def test_module_beside_is_found_by_the_python_path(dask_flow, cluster, flow, monkeypatch):
    monkeypatch.chdir(flow.parent)
    monkeypatch.syspath_prepend(flow.parent)
    cluster.add("cronjobs", cron_job())

    dask_flow("submit", "sums:flow", "--name", "r")

    runner = runner_of(cluster.get("jobs", "r"))
    assert runner["args"] == ["run", "sums:flow"]
    assert {"name": "PYTHONPATH", "value": "/etc/dask-flow-run/flow"} in runner["env"]


def test_files_above_the_limit_are_refused_before_anything_is_made(dask_flow, cluster, flow):
    (flow.parent / "pkg").mkdir()
    (flow.parent / "pkg/__init__.py").write_text("")
    for number in (1, 2):
        (flow.parent / f"pkg/data{number}.csv").write_text("x" * 600_000)
    flow.write_text(f"import pkg\n{FLOW}")

    done = dask_flow("submit", flow)

    assert done.exit_code == 2
    assert "the flow has 1.20 MB in 4 files" in done.stderr
    assert "pkg/data1.csv (0.60 MB)" in done.stderr
    assert "Put the files into an image" in done.stderr
    assert cluster.asked == []


@pytest.mark.parametrize(
    "mistake",
    [
        ("def f(:\n", [], "sums.py:1: syntax error: "),
        ("x = 1 / 0\n", [], "sums.py:1: ZeroDivisionError"),
        (FLOW, ["--param", "m=1"], "has no parameter 'm'"),
        (FLOW, ["--param", "m"], "is not NAME=VALUE"),
        (FLOW, ["--min-workers", "3", "--max-workers", "1"], "is more than --max-workers 1"),
        (FLOW, ["--name", "No_Name"], "--name 'No_Name' cannot be a run's"),
        (FLOW, ["--worker-spec", "none.yaml"], "none.yaml cannot be read"),
        (FLOW, ["--arg", "x"], "--arg is for scripts"),
    ],
)
def test_mistake_is_found_before_the_cluster_is_asked(dask_flow, cluster, flow, mistake):
    text, options, message = mistake
    flow.write_text(text)

    done = dask_flow("submit", flow, *options)

    assert (done.exit_code, message in done.stderr) == (2, True), done.output
    assert cluster.asked == []


def test_package_that_is_not_here_does_not_stop_it(dask_flow, cluster, flow, caplog):
    flow.write_text(f"import no_such_package\n{FLOW}")
    cluster.add("cronjobs", cron_job())

    done = dask_flow("submit", flow, "--name", "r")

    assert done.exit_code == 0, done.output
    assert "the flow is not checked here: " in caplog.text
    assert "sums.py:1: no module named 'no_such_package' here, but the run's image may have it" in caplog.text


def test_no_check_leaves_the_flow_unloaded(dask_flow, cluster, flow):
    flow.write_text("raise SystemExit(7)\n")
    cluster.add("cronjobs", cron_job())

    assert dask_flow("submit", flow, "--no-check").exit_code == 0


def test_answer_is_the_run_s_name_alone(dask_flow, cluster, flow):
    flow.write_text(f"print('hello')\n{FLOW}")
    cluster.add("cronjobs", cron_job())

    done = dask_flow("submit", flow, "--name", "r")

    assert done.stdout == "r\n"
    assert "run r made in namespace jobs\n  dask-flow logs -f r -n jobs\n" in done.stderr


def test_help_promises_no_default_that_the_release_decides(dask_flow):
    ours, _, runs = " ".join(dask_flow("submit", "--help").stdout.split()).partition("--cluster ")

    assert "[default: the only one in the namespace]" in ours
    assert "Workers at most; equal to the minimum for a fixed size." in runs
    assert "[default" not in runs
    assert "[default: auto]" in " ".join(dask_flow("validate", "--help").stdout.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--release", "nightli"], "of the chart dask-flow; it has hourly and nightly; did you mean 'nightly'?"),
        ([], "namespace jobs has several releases; say --release hourly or nightly"),
        (["--release", "once"], "release once in namespace jobs is no template for runs: it has run.mode=job"),
        (["-n", "default"], "has no release of the chart dask-flow, but namespace jobs does: say -n jobs"),
        (["-n", "none"], "there is no namespace none at http://127.0.0.1"),
    ],
)  # fmt: skip
def test_release_that_is_not_there_is_said_with_those_that_are(dask_flow, cluster, flow, options, message):
    cluster.add("cronjobs", cron_job("nightly"))
    cluster.add("cronjobs", cron_job("hourly"))
    cluster.add("cronjobs", {"metadata": {"name": "x"}, "spec": {"jobTemplate": {"spec": {"template": {"spec": {
        "containers": [{"name": "x"}]}}}}}})  # fmt: skip
    cluster.add("jobs", job("once-1", "once"))

    done = dask_flow("submit", flow, *options)

    assert done.exit_code == 2
    assert message in done.stderr


def test_expired_credentials_and_a_cluster_that_is_away_say_what_to_do(dask_flow, cluster, flow, tmp_path):
    cluster.refusals["GET", "cronjobs"] = (401, "Unauthorized")

    done = dask_flow("submit", flow)

    assert done.exit_code == 3
    assert "(context dev) does not accept your credentials, or not any more (status 401); log in again" in done.stderr
    config = tmp_path / "kubeconfig"
    before = config.read_text()
    command = "exec: {apiVersion: client.authentication.k8s.io/v1, command: 'false'}"
    config.write_text(before.replace("token: t", command))
    done = dask_flow("submit", flow)
    assert done.exit_code == 3
    assert "no credentials: false, which your kubeconfig names for them, gave none; log in again" in done.stderr
    config.write_text(before.replace("http://127.0.0.1:", "http://127.0.0.1:1"))
    done = dask_flow("submit", flow)
    assert done.exit_code == 3
    assert "cannot be reached: " in done.stderr
    assert "kubectl config get-contexts" in done.stderr


def test_context_that_is_not_there_and_no_kubeconfig_are_said(dask_flow, cluster, flow, monkeypatch, tmp_path):
    done = dask_flow("submit", flow, "--context", "prod")
    assert (done.exit_code, "no cluster at hand" in done.stderr, "prod" in done.stderr) == (3, True, True)

    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    done = dask_flow("submit", flow)
    assert (done.exit_code, "no cluster at hand: there is no kubeconfig" in done.stderr) == (3, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [\n", "is not a kubeconfig: ParserError: while parsing a flow node expected"),
        ("- a\n", "is not a kubeconfig: it is not as kubectl writes it; mend it, or name another"),
        ("a text\n", "is not a kubeconfig: it is not as kubectl writes it; mend it, or name another"),
        ("clusters: 5\n", "is not a kubeconfig: it is not as kubectl writes it; mend it, or name another"),
        ("\xff", "is not a kubeconfig: it is not as kubectl writes it; mend it, or name another"),
        ("current-context: none\n", "Expected object with name none"),
        ("apiVersion: v1\n", "has no current context; choose one with --context, or kubectl config use-context"),
        ("current-context: ''\n", "has no current context; choose one with --context, or kubectl config use-context"),
    ],
)
def test_kubeconfig_that_is_none_is_said_in_one_line(dask_flow, cluster, tmp_path, text, message):
    path = tmp_path / "kubeconfig"
    path.write_text(text, encoding="latin-1")

    done = dask_flow("list")

    assert (done.exit_code, done.stderr.count("\n")) == (3, 1), done.output
    assert done.stderr.startswith("no cluster at hand: ")
    assert str(path) in done.stderr
    assert message in done.stderr


def test_context_that_is_chosen_needs_no_current_one(dask_flow, cluster, flow, tmp_path):
    config = tmp_path / "kubeconfig"
    config.write_text(config.read_text().replace("current-context: dev", "current-context: ''"))
    cluster.namespaces.add("o")
    cluster.add("cronjobs", cron_job(), "o")

    assert dask_flow("submit", flow, "--context", "other", "--name", "r").stdout == "r\n"
    assert cluster.get("jobs", "r", "o")


def test_context_says_the_namespace(dask_flow, cluster, flow):
    cluster.namespaces.add("o")
    cluster.add("cronjobs", cron_job(), "o")

    assert dask_flow("submit", flow, "--context", "other", "--name", "r").stdout == "r\n"
    assert cluster.get("jobs", "r", "o")


def started(cluster, pod, status=None):
    """Have a run's pod be there as soon as its Job is, and the Job have ended in that way."""

    def on_create(made):
        made["status"] = {"conditions": status or []}
        cluster.add("pods", pod)

    cluster.on_create["jobs"] = on_create


@pytest.mark.parametrize("end", [(0, "the flow succeeded", COMPLETE), (1, "the flow failed: task x: E", FAILED)])
def test_watch_prints_the_log_and_ends_with_the_run_s_exit_code(dask_flow, cluster, flow, end):
    code, reason, status = end
    cluster.add("cronjobs", cron_job())
    started(cluster, runner_pod("r", state=ended(code, reason)), status)
    cluster.logs["r-a"] = f"2026-01-01T00:00:00.000000001Z hello\n2026-01-01T00:00:00.000000002Z {reason}\n"

    done = dask_flow("submit", flow, "--name", "r", "--watch")

    assert done.exit_code == code
    assert done.stdout == f"hello\n{reason}\n"
    assert done.stderr.splitlines()[-1] == f"run r, exit code {code}: {reason}"


def test_watch_shows_every_attempt(dask_flow, cluster, flow):
    cluster.add("cronjobs", cron_job())
    started(cluster, runner_pod("r", "a", ended(4, "lost")), COMPLETE)
    cluster.add("pods", runner_pod("r", "b", ended(0, "the flow succeeded")))
    cluster.get("pods", "r-b")["metadata"]["creationTimestamp"] = "2026-01-01T00:05:00Z"
    cluster.logs = {"r-a": "2026-01-01T00:00:00Z first\n", "r-b": "2026-01-01T00:00:09Z second\n"}

    done = dask_flow("submit", flow, "--name", "r", "--watch")

    assert (done.exit_code, done.stdout) == (0, "first\nsecond\n")
    assert "attempt 2, runner r-b" in done.stderr


def test_runner_s_image_that_does_not_exist_is_exit_code_3_and_the_run_is_cancelled(dask_flow, cluster, flow):
    cluster.add("cronjobs", cron_job())
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "x:1 not found"}}
    started(cluster, runner_pod("r", state=waiting))

    done = dask_flow("submit", flow, "--name", "r", "--watch")

    assert done.exit_code == 3
    assert "the runner cannot start: pod r-a, container runner: ErrImagePull: x:1 not found" in done.stderr
    assert cluster.get("jobs", "r") is None


def test_runner_that_may_not_be_made_is_exit_code_3_with_the_reason(dask_flow, cluster, flow):
    cluster.add("cronjobs", cron_job())
    message = 'pods "r-x" is forbidden: exceeded quota: small'
    cluster.add("events", warning("r", message=message))

    done = dask_flow("submit", flow, "--name", "r", "--watch")

    assert done.exit_code == 3
    assert f"pods of Job r cannot be made: {message}" in done.stderr


@pytest.mark.parametrize(("name", "hopeless"), [("settings", True), ("r", False)])
def test_volume_that_cannot_be_mounted_is_hopeless_unless_it_is_the_run_s_own(kube, cluster, name, hopeless):
    cluster.add("jobs", job("r"))
    cluster.add("pods", runner_pod("r"))
    message = f'MountVolume.SetUp failed for volume "v" : configmap "{name}" not found'
    cluster.add("events", warning("r-a", "FailedMount", message, "Pod"))

    seen = next(following.follow(kube, "r"))

    assert isinstance(seen, following.Ended if hopeless else following.Waiting)
    assert f'configmap "{name}" not found' in seen.reason


def test_quota_that_keeps_a_second_attempt_out_is_waited_for(kube, cluster, monkeypatch):
    cluster.add("jobs", job("r", failed=1))
    cluster.add("events", warning("r"))
    looks = iter(range(9))

    def runners(*_):
        if next(looks) == 3:
            cluster.get("jobs", "r")["status"]["conditions"] = FAILED
        return []

    monkeypatch.setattr(following, "runners_of", runners)

    *waiting, end = following.follow(kube, "r")

    assert waiting == [following.Waiting("pods of Job r cannot be made: exceeded quota: small")]
    assert (end.exit_code, end.stuck) == (4, False)


def test_runner_that_does_not_start_for_no_known_reason_is_given_up(kube, cluster):
    waiting = cluster.add("jobs", job("r"))
    env = waiting["spec"]["template"]["spec"]["containers"][0]["env"]
    env.append({"name": "DASK_FLOW_STARTUP_TIMEOUT", "value": "0.05"})

    (end,) = following.follow(kube, "r")

    assert end == following.Ended(
        3, "the runner cannot start within 0.05 s: nobody says why; kubectl describe job r may", stuck=True
    )


def test_unschedulable_runner_is_waited_for_no_longer_than_the_startup_timeout(dask_flow, cluster, flow):
    cluster.add("cronjobs", cron_job())
    condition = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}
    started(cluster, runner_pod("r", conditions=[condition]))

    done = dask_flow("submit", flow, "--name", "r", "--watch", "--startup-timeout", "0.05")

    assert done.exit_code == 3
    assert "waiting: pod r-a is not scheduled: 0/1 nodes are available" in done.stderr
    assert "the runner cannot start within 0.05 s: pod r-a is not scheduled" in done.stderr


def test_run_that_is_deleted_meanwhile_ends_the_watch(kube, cluster):
    assert list(following.follow(kube, "gone")) == [following.Ended(143, "the run was cancelled: its Job gone is gone")]


def test_interrupt_without_a_terminal_detaches_and_says_what_goes_on(dask_flow, cluster, flow, monkeypatch):
    cluster.add("cronjobs", cron_job())

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(following, "runners_of", interrupt)

    done = dask_flow("submit", flow, "--name", "r", "--watch")

    assert done.exit_code == 130
    assert "dask-flow logs -f r -n jobs" in done.stderr
    assert "dask-flow cancel r -n jobs" in done.stderr
    assert cluster.get("jobs", "r")


def test_connection_that_is_lost_for_long_leaves_the_run_and_says_so(dask_flow, cluster, flow, monkeypatch):
    cluster.add("cronjobs", cron_job())
    monkeypatch.setattr(user_kube, "WATCHING_PATIENCE_SECONDS", 0)
    cluster.on_create["jobs"] = lambda _: cluster.refusals.update({("GET", "jobs"): (401, "Unauthorized")})

    done = dask_flow("submit", flow, "--name", "r", "--watch")

    assert done.exit_code == 3
    assert "(status 401); log in again" in done.stderr
    assert "The run may go on: dask-flow logs -f r -n jobs" in done.stderr
    assert cluster.get("jobs", "r")


def test_pull_secret_that_the_flow_asks_for_is_made_and_given_to_the_runner(
    dask_flow, cluster, flow, monkeypatch, caplog
):
    caplog.set_level(logging.INFO, "dask_flow")
    monkeypatch.setenv("DOCKER_USERNAME", "me")
    monkeypatch.setenv("DOCKER_PASSWORD", "secret-word")
    flow.write_text(
        HEAD + "flow = Flow('f', tasks=[one], environment=DaskKubernetesEnvironment(image_pull_secret='regcred'))\n"
    )
    cluster.add("cronjobs", cron_job())

    done = dask_flow("submit", flow, "--name", "r")

    assert done.exit_code == 0, done.output
    content = json.loads(base64.b64decode(cluster.get("secrets", "regcred")["data"][".dockerconfigjson"]))
    assert content["auths"]["registry.example"]["password"] == "secret-word"  # noqa: S105
    assert cluster.get("jobs", "r")["spec"]["template"]["spec"]["imagePullSecrets"] == [{"name": "regcred"}]
    assert "secret-word" not in done.output + caplog.text


def test_secret_that_one_may_not_read_is_left_to_the_kubelet(dask_flow, cluster, flow, caplog):
    cluster.add("cronjobs", cron_job())
    cluster.refusals["GET", "secrets"] = forbidden("get", "secrets")

    done = dask_flow("submit", flow, "--image-pull-secret", "x")

    assert done.exit_code == 0, done.output
    assert "pull secret x is not checked: eve may not get secrets in namespace jobs" in caplog.text
