"""What the chart makes of its values."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dask_flow import cli
from dask_flow.manifests import permissions
from dask_flow.params import parse_args
from dask_flow.settings import resolve
from dask_flow.specs import parse_spec
from rendering import CHART, env, expanded, pod_templates

ROOT = CHART.parents[1]
FLOW = {"files": {"flow.py": "def main(): return 1\n"}}
RUNS = sorted(CHART.glob("ci/*-values.yaml"))


def test_templates_are_few_enough_to_be_read():
    lines = {path: len(path.read_text().splitlines()) for path in (CHART / "templates").rglob("*") if path.is_file()}

    assert sum(lines.values()) < 950
    assert max(lines.values()) < 100


def test_every_file_of_values_is_small_and_linked_for_chart_testing():
    files = {path.name: path for path in (ROOT / "values").iterdir()}
    links = {f"{path.name.removesuffix('-values.yaml')}.yaml": path for path in RUNS if path.is_symlink()}

    assert len(files) >= 8
    assert {name: path.resolve() for name, path in links.items()} == files
    assert max(len(path.read_text().splitlines()) for path in files.values()) <= 30


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_rendering_twice_gives_the_same_bytes(complete_chart, path):
    values = yaml.safe_load(path.read_text())

    assert complete_chart.run(values).stdout == complete_chart.run(values).stdout != ""


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_every_pod_is_restricted(complete_chart, path):
    templates = pod_templates(complete_chart.objects("-f", str(path)))

    assert templates
    for spec in (template["spec"] for template in templates):
        assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        for container in spec["containers"]:
            given = container["securityContext"]
            assert (given["allowPrivilegeEscalation"], given["readOnlyRootFilesystem"]) == (False, True)
            assert given["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_every_pod_of_the_charts_own_may_write_to_tmp_and_has_no_token_without_need(chart, path):
    for each in pod_templates(chart.objects("-f", str(path), "--set", "operator.enabled=false")):
        for container in each["spec"]["containers"]:
            assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]
        assert each["spec"]["enableServiceLinks"] is False
        if each["metadata"]["labels"]["app.kubernetes.io/component"] not in ("runner", "test"):
            assert each["spec"]["automountServiceAccountToken"] is False


def test_application_in_the_docs_gives_a_run_for_each_change(chart):
    text = (ROOT / "docs/argo-cd.md").read_text()
    application = yaml.safe_load(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1])
    helm = application["spec"]["source"]["helm"]

    job = chart.only("Job", **helm["valuesObject"])

    assert "ttlSecondsAfterFinished" not in job["spec"]
    assert env(job["spec"]["template"]["spec"])["DASK_FLOW_MAX_WORKERS"] == "4"


def test_nothing_but_helm_test_is_a_hook(chart):
    for path in RUNS:
        objects = chart.objects("-f", str(path), "--set", "operator.enabled=false")
        hooks = [each["kind"] for each in objects if "helm.sh/hook" in each["metadata"].get("annotations", {})]
        assert hooks == ["Pod"]


def test_template_is_a_suspended_cronjob(chart):
    spec = chart.only("CronJob", flow=FLOW)["spec"]

    assert spec["suspend"] is True
    assert spec["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"] == [
        "run",
        "/etc/dask-flow/flow/flow.py",
    ]


def test_cronjob_runs_at_its_schedule(chart):
    spec = chart.only(
        "CronJob", flow=FLOW, run={"mode": "cronjob", "schedule": "0 3 * * *", "timeZone": "Europe/Berlin"}
    )["spec"]

    assert (spec["suspend"], spec["schedule"], spec["timeZone"]) == (False, "0 3 * * *", "Europe/Berlin")


def test_job_has_another_name_for_another_spec_only(chart):
    def name(**flow):
        return chart.only("Job", flow={**FLOW, **flow}, run={"mode": "job"})["metadata"]["name"]

    assert name() == name()
    assert len({name(), name(params={"n": 1}), name(params={"n": 2}), name(files={"flow.py": "def main(): ..."})}) == 4


def test_failures_of_the_flow_are_final_and_those_of_the_cluster_are_not(chart):
    rules = chart.job_spec(flow=FLOW)["podFailurePolicy"]["rules"]

    assert [rule["action"] for rule in rules] == ["Count", "FailJob"]
    assert rules[1]["onExitCodes"] == {"containerName": "runner", "operator": "In", "values": [1, 2]}


@pytest.mark.parametrize(
    "cluster",
    [
        {},
        {"tls": True},
        {"tls": False},
        {"scheduler": "pod"},
        {"schedulerSpec": "kind: Pod", "tls": False},
        {"mode": "operator"},
        {"mode": "operator", "schedulerSpec": "kind: Pod", "scheduler": "pod"},
    ],
)
def test_role_grants_what_the_runner_needs_and_no_more(chart, cluster):
    rules = chart.only("Role", flow=FLOW, cluster=cluster)["rules"]
    granted = {
        ".".join(filter(None, (resource, group))): tuple(rule["verbs"])
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    given = {"scheduler": cluster.get("scheduler"), "tls": cluster.get("tls"), "cluster": cluster.get("mode")}
    given["scheduler_spec"] = Path("s.yaml") if "schedulerSpec" in cluster else None

    assert granted == permissions(resolve({"target": "f", **given}, {}, in_kubernetes=True))


def test_settings_are_options_of_the_runner(chart):
    values = {
        "mode": "static",
        "address": "tcp://s:8786",
        "minWorkers": 2,
        "maxWorkers": 4,
        "image": "x:1",
        "startupTimeoutSeconds": 12.5,
        "scheduler": "pod",
        "schedulerSpec": "kind: Pod",
        "workerSpec": "kind: Pod",
        "workStealing": False,
        "tls": False,
        "adaptive": {"intervalSeconds": 2, "targetDurationSeconds": 3.5, "waitCount": 4},
        "queueName": "workers",
        "allowedFailures": 0,
    }
    given = env(chart.pod(flow={**FLOW, "params": {"n": [1, "a"]}, "args": ["--days", "007"]}, cluster=values))
    known = {option.envvar for option in cli.run.params} | {
        "DASK_FLOW_PARAMS",
        "DASK_FLOW_ARGS",
        "DASK_FLOW_POD_NAME",
        "DASK_FLOW_POD_IP",
        "DASK_FLOW_RUN",
    }

    assert set(given) <= known
    assert given["DASK_FLOW_ADDRESS"] == "tcp://s:8786"
    assert (given["DASK_FLOW_MIN_WORKERS"], given["DASK_FLOW_MAX_WORKERS"]) == ("2", "4")
    assert (given["DASK_FLOW_IMAGE"], given["DASK_FLOW_QUEUE_NAME"]) == ("x:1", "workers")
    assert given["DASK_FLOW_SCHEDULER_SPEC"] == "/etc/dask-flow/scheduler_spec.yaml"
    assert (given["DASK_FLOW_SCHEDULER"], given["DASK_FLOW_TLS"]) == ("pod", "false")
    assert (given["DASK_FLOW_WORK_STEALING"], given["DASK_FLOW_ALLOWED_FAILURES"]) == ("false", "0")
    assert [given[f"DASK_FLOW_ADAPTIVE_{name}"] for name in ("INTERVAL", "TARGET_DURATION", "WAIT_COUNT")] == [
        "2",
        "3.5",
        "4",
    ]
    assert json.loads(given["DASK_FLOW_PARAMS"]) == {"n": [1, "a"]}
    assert parse_args(given["DASK_FLOW_ARGS"], ()) == ("--days", "007")


def test_dollars_reach_the_runner_as_they_are(chart):
    text = "select $$a$$ from $(HOME) for $5"
    folder = "s3://b/$$/$(HOME)"
    flow = {"target": f"{folder}/flow.py", "params": {"q": text}, "args": [text]}
    pod = chart.pod(flow={**flow, "env": [{"name": "A", "value": "$(HOME)"}]}, report={"url": folder})
    given = {name: expanded(value, HOME="/") for name, value in env(pod).items() if value}

    assert "select $$$$a$$$$ from $$(HOME) for $$5" in env(pod)["DASK_FLOW_PARAMS"]
    assert json.loads(given["DASK_FLOW_PARAMS"]) == flow["params"]
    assert json.loads(given["DASK_FLOW_ARGS"]) == flow["args"]
    assert given["DASK_FLOW_REPORT"] == folder
    assert [expanded(each, HOME="/") for each in pod["containers"][0]["args"]] == ["run", flow["target"]]
    assert given["A"] == "/"


def test_great_numbers_are_written_as_whole_ones(chart):
    cluster = {"allowedFailures": 1_000_000, "startupTimeoutSeconds": 1_209_600}
    limits = {"activeDeadlineSeconds": 2_000_000, "ttlSecondsAfterFinished": 1_209_600, "backoffLimit": 3_000_000}
    of_cronjobs = {
        "startingDeadlineSeconds": 1_000_000,
        "successfulJobsHistoryLimit": 1_000_000,
        "failedJobsHistoryLimit": 1_000_001,
    }
    run = {"mode": "cronjob", "schedule": "0 3 * * *", **limits, **of_cronjobs}
    spec = chart.only("CronJob", flow=FLOW, cluster=cluster, run=run)["spec"]
    job = spec["jobTemplate"]["spec"]
    given = env(job["template"]["spec"])
    found = [spec[name] for name in of_cronjobs] + [job[name] for name in limits]

    assert (given["DASK_FLOW_ALLOWED_FAILURES"], given["DASK_FLOW_STARTUP_TIMEOUT"]) == ("1000000", "1209600")
    assert found == [*of_cronjobs.values(), *limits.values()]
    assert {type(each) for each in found} == {int}


def test_users_environment_wins_over_the_charts_by_name(chart):
    timeout = {"name": "DASK_FLOW_STARTUP_TIMEOUT", "value": "9"}
    given = [
        timeout,
        {"name": "A", "value": "1"},
        {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
    ]
    for each in pod_templates(chart.objects(flow={**FLOW, "env": given})):
        variables = each["spec"]["containers"][0]["env"]

        assert [each for each in variables if each["name"] == timeout["name"]] == [timeout]
        assert variables[-2:] == given[1:]


def test_the_runner_accepts_the_environment_that_the_chart_gives(chart, tmp_path):
    path = tmp_path / "flow.py"
    path.write_text("def main(n): return n\n")
    given = env(
        chart.pod(flow={**FLOW, "params": {"n": 1}}, cluster={"mode": "local", "minWorkers": 1, "maxWorkers": 1})
    )

    done = subprocess.run(
        [sys.executable, "-m", "dask_flow", "run", str(path)],
        env={"PATH": "/usr/bin", **{name: value for name, value in given.items() if value is not None}},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "result of main: 1" in done.stderr


@pytest.mark.parametrize(
    ("name", "result"), [("argo-cd", "result of total: 14"), ("argo-workflows", "result of main: 285")]
)
def test_flows_of_the_files_of_values_run(tmp_path, name, result):
    flow = yaml.safe_load((ROOT / f"values/{name}.yaml").read_text())["flow"]
    (tmp_path / "flow.py").write_text(flow["files"]["flow.py"])

    done = subprocess.run(
        [sys.executable, "-m", "dask_flow", "run", str(tmp_path / "flow.py"), "--cluster", "local"],
        env={"PATH": "/usr/bin", "DASK_FLOW_PARAMS": json.dumps(flow["params"])},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert result in done.stderr


def test_what_is_not_given_is_left_to_the_flow(chart):
    of_the_pod = {"DASK_FLOW_POD_NAME", "DASK_FLOW_POD_IP", "DASK_FLOW_RUN"}

    assert set(env(chart.pod(flow=FLOW))) == of_the_pod | {"DASK_FLOW_STARTUP_TIMEOUT"}


def test_runner_knows_its_job(chart):
    (run,) = (each for each in chart.pod(flow=FLOW)["containers"][0]["env"] if each["name"] == "DASK_FLOW_RUN")

    # Kubernetes sets that label since 1.27.
    assert run["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.labels['batch.kubernetes.io/job-name']"}}


def test_containers_that_leave_no_reason_have_the_end_of_their_log_as_one(chart):
    templates = pod_templates(chart.objects(flow=FLOW, static={"enabled": True}))

    assert len(templates) == 4
    for each in templates:
        assert each["spec"]["containers"][0]["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_worker_spec_reaches_the_runners_parser_unchanged(chart):
    text = (ROOT / "tests/unit/worker_spec.yaml").read_text()
    objects = chart.objects(flow=FLOW, cluster={"workerSpec": text})
    data = next(each["data"] for each in objects if each["metadata"]["name"].endswith("-specs"))

    assert data == {"worker_spec.yaml": text}
    assert (
        env(chart.pod(flow=FLOW, cluster={"workerSpec": text}))["DASK_FLOW_WORKER_SPEC"]
        == "/etc/dask-flow/worker_spec.yaml"
    )
    assert parse_spec(data["worker_spec.yaml"], Path("x")).replicas == 2


def test_files_are_mounted_where_the_target_is(chart):
    text = '"""Odd: {{ not a template }} %s\\n\ttab"""\n' % ("x" * 300)
    files = {".hidden": "", "123": "", "flow.py": text, "other.py": " leading"}
    objects = chart.objects(flow={"files": files, "target": "flow.py:main"})
    volume = next(
        each for each in chart.pod(flow={"files": files, "target": "flow.py"})["volumes"] if each["name"] == "files"
    )

    assert next(each["data"] for each in objects if each["kind"] == "ConfigMap") == files
    assert [item["path"] for item in volume["projected"]["sources"][0]["configMap"]["items"]] == [
        "flow/.hidden",
        "flow/123",
        "flow/flow.py",
        "flow/other.py",
    ]


@pytest.mark.parametrize("target", ["package.module:flow", "/opt/flows/flow.py", "x #y", "{{ x }}", "s3://b/a: 1.py"])
def test_target_may_be_in_the_image(chart, target):
    pod = chart.pod(flow={"target": target})

    assert pod["containers"][0]["args"] == ["run", target]
    assert [volume["name"] for volume in pod["volumes"]] == ["tmp"]


@pytest.mark.parametrize(("mode", "roles"), [("auto", 2), ("pods", 2), ("operator", 2), ("static", 0), ("local", 0)])
def test_only_modes_that_make_a_cluster_have_a_role_and_a_token(chart, mode, roles):
    cluster = {"mode": mode, "address": "tcp://s:1" if mode == "static" else ""}
    objects = chart.objects(flow=FLOW, cluster=cluster)

    assert sum(each["kind"] in ("Role", "RoleBinding") for each in objects) == roles
    assert chart.pod(flow=FLOW, cluster=cluster)["automountServiceAccountToken"] is (roles > 0)


def test_pod_spec_is_merged_containers_by_name(chart):
    over = {
        "nodeSelector": {"disk": "ssd"},
        "containers": [
            {"name": "sidecar", "image": "s"},
            {
                "name": "runner",
                "env": [{"name": "A", "value": "1"}, {"name": "DASK_FLOW_STARTUP_TIMEOUT", "value": "9"}],
                "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            },
        ],
        "volumes": [{"name": "v", "emptyDir": {}}],
        "securityContext": {"fsGroup": 1},
    }
    pod = chart.pod(flow=FLOW, runner={"podSpec": over})
    runner, sidecar = pod["containers"]

    assert (runner["name"], sidecar["name"]) == ("runner", "sidecar")
    assert env(pod)["A"] == "1"
    assert [each["value"] for each in runner["env"] if each["name"] == "DASK_FLOW_STARTUP_TIMEOUT"] == ["9"]
    assert env(pod)["DASK_FLOW_POD_NAME"] is None
    assert [mount["name"] for mount in runner["volumeMounts"]] == ["tmp", "files", "v"]
    assert [volume["name"] for volume in pod["volumes"]] == ["tmp", "files", "v"]
    assert pod["nodeSelector"] == {"disk": "ssd"}
    assert pod["securityContext"]["fsGroup"] == 1
    assert pod["securityContext"]["runAsNonRoot"] is True


def test_image_by_tag_or_digest(chart):
    digest = "sha256:" + "a" * 64

    assert chart.pod(image={"repository": "r", "tag": "t"})["containers"][0]["image"] == "r:t"
    assert chart.pod(image={"repository": "r", "tag": "t", "digest": digest})["containers"][0]["image"] == f"r@{digest}"


def test_defaults_alone_render(chart):
    kinds = {each["kind"] for each in chart.objects()}

    assert kinds == {"ServiceAccount", "Role", "RoleBinding", "CronJob", "NetworkPolicy", "Pod"}
