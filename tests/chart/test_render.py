"""What the chart makes of its values."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from dask_flow import cli
from dask_flow.manifests import permissions
from dask_flow.params import parse_args
from dask_flow.settings import RunSettings
from dask_flow.specs import parse_spec
from rendering import CHART

ROOT = CHART.parents[1]
FLOW = {"files": {"flow.py": "def main(): return 1\n"}}
CI_VALUES = sorted(CHART.glob("ci/*-values.yaml"))
RUNS = [*CI_VALUES, *sorted((ROOT / "values").glob("*.yaml"))]


def env(pod):
    return {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_rendering_twice_gives_the_same_bytes(chart, path):
    values = yaml.safe_load(path.read_text())

    assert chart.run(values).stdout == chart.run(values).stdout != ""


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_every_pod_is_restricted(chart, path):
    for each in chart.objects("-f", str(path)):
        if each["kind"] not in ("Job", "CronJob"):
            continue
        job = each["spec"] if each["kind"] == "Job" else each["spec"]["jobTemplate"]["spec"]
        spec = job["template"]["spec"]
        assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]


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
    "cluster", [{}, {"tls": False}, {"scheduler": "pod"}, {"schedulerSpec": "kind: Pod", "tls": False}]
)
def test_role_grants_what_the_runner_needs_and_no_more(chart, cluster):
    role = chart.only("Role", flow=FLOW, cluster=cluster)
    granted = {resource: tuple(rule["verbs"]) for rule in role["rules"] for resource in rule["resources"]}

    scheduler = "pod" if cluster.keys() & {"scheduler", "schedulerSpec"} else "runner"
    assert granted == permissions(RunSettings(target="f", tls=cluster.get("tls", True), scheduler=scheduler))


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
        "allowedFailures": 0,
    }
    given = env(chart.pod(flow={**FLOW, "params": {"n": [1, "a"]}, "args": ["--days", "007"]}, cluster=values))
    known = {option.envvar for option in cli.run.params} | {
        "DASK_FLOW_PARAMS",
        "DASK_FLOW_ARGS",
        "DASK_FLOW_POD_NAME",
        "DASK_FLOW_POD_IP",
    }

    assert set(given) <= known
    assert given["DASK_FLOW_ADDRESS"] == "tcp://s:8786"
    assert (given["DASK_FLOW_MIN_WORKERS"], given["DASK_FLOW_MAX_WORKERS"]) == ("2", "4")
    assert given["DASK_FLOW_IMAGE"] == "x:1"
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


def test_what_is_not_given_is_left_to_the_flow(chart):
    assert set(env(chart.pod(flow=FLOW))) == {
        *("DASK_FLOW_POD_NAME", "DASK_FLOW_POD_IP", "DASK_FLOW_STARTUP_TIMEOUT", "DASK_FLOW_TLS")
    }


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
    files = {"flow.py": text, "other.py": " leading"}
    objects = chart.objects(flow={"files": files, "target": "flow.py:main"})
    volume = next(
        each for each in chart.pod(flow={"files": files, "target": "flow.py"})["volumes"] if each["name"] == "files"
    )

    assert next(each["data"] for each in objects if each["kind"] == "ConfigMap") == files
    assert [item["path"] for item in volume["projected"]["sources"][0]["configMap"]["items"]] == [
        "flow/flow.py",
        "flow/other.py",
    ]


@pytest.mark.parametrize("target", ["package.module:flow", "/opt/flows/flow.py"])
def test_target_may_be_in_the_image(chart, target):
    pod = chart.pod(flow={"target": target})

    assert pod["containers"][0]["args"] == ["run", target]
    assert [volume["name"] for volume in pod["volumes"]] == ["tmp"]


@pytest.mark.parametrize(("mode", "roles"), [("auto", 2), ("pods", 2), ("static", 0), ("local", 0)])
def test_only_the_mode_that_makes_pods_has_a_role_and_a_token(chart, mode, roles):
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
                "env": [{"name": "A", "value": "1"}],
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
    assert env(pod)["DASK_FLOW_TLS"] == "true"
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
    assert {each["kind"] for each in chart.objects()} == {"ServiceAccount", "Role", "RoleBinding", "CronJob"}


WRONG = [
    ({"cluster": {"minWorkers": 0}}, "cluster.minWorkers|/cluster/minWorkers"),
    ({"cluster": {"minWorkers": "2"}}, "minWorkers"),
    (
        {"cluster": {"minWorkers": 3, "maxWorkers": 2}},
        r"cluster.minWorkers \(3\) is more than cluster.maxWorkers \(2\)",
    ),
    ({"cluster": {"mode": "moon"}}, "mode"),
    ({"cluster": {"mode": "static"}}, "cluster.mode is static, so cluster.address must name the scheduler"),
    ({"cluster": {"address": "tcp://s:1"}}, "cluster.address is set, but cluster.mode is auto"),
    ({"cluster": {"address": "s:1", "mode": "static"}}, "address"),
    ({"cluster": {"workers": 2}}, "workers"),
    ({"cluster": {"startupTimeoutSeconds": 0}}, "startupTimeoutSeconds"),
    ({"run": {"mode": "daily"}}, "mode"),
    ({"run": {"mode": "cronjob"}, "flow": FLOW}, "run.mode is cronjob, so run.schedule must say when"),
    ({"run": {"mode": "job"}}, "run.mode job needs a flow"),
    ({"run": {"backoffLimit": -1}}, "backoffLimit"),
    ({"run": {"concurrencyPolicy": "Maybe"}}, "concurrencyPolicy"),
    ({"flow": {"files": {"a.py": "", "b.py": ""}}}, "flow.files has several files; set flow.target .* a.py, b.py"),
    ({"flow": {"files": {"a/b.py": ""}}}, "a/b.py"),
    ({"flow": {"env": [{"value": "1"}]}}, "name"),
    ({"flow": {"args": "--days 7"}}, "args"),
    ({"flow": {"args": [7]}}, "args"),
    ({"image": {"digest": "sha256:1"}}, "digest"),
    ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
    ({"flows": {}}, "flows"),
]


@pytest.mark.parametrize(("values", "message"), WRONG)
def test_wrong_values_are_refused_with_their_key(chart, values, message):
    assert re.search(message, chart.error(**values))


def test_a_minimum_alone_is_no_mistake(chart):
    assert env(chart.pod(flow=FLOW, cluster={"minWorkers": 3}))["DASK_FLOW_MIN_WORKERS"] == "3"


def leaves(values, prefix=()):
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*prefix, key))
        else:
            yield (*prefix, key)


def test_every_value_is_in_the_schema_in_a_template_and_in_the_readme():
    schema = json.loads((CHART / "values.schema.json").read_text())
    templates = "".join(path.read_text() for path in CHART.glob("templates/*"))
    readme = (CHART / "README.md").read_text()
    keys = list(leaves(yaml.safe_load((CHART / "values.yaml").read_text())))

    assert len(keys) > 25
    for key in keys:
        node = schema
        for part in key:
            node = node["properties"][part]
        assert re.search(rf"\.{key[-1]}\b", templates), f"{'.'.join(key)} is used nowhere"
        assert f"| {'.'.join(key)} |" in readme


def test_readme_is_fresh(tmp_path):
    done = subprocess.run(
        ["helm-docs", "--chart-search-root", str(CHART.parent), "--dry-run", "--log-level", "warning"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == (CHART / "README.md").read_text().strip(), "run `make docs`"


def test_ct_lint_passes():
    done = subprocess.run(
        ["ct", "lint", "--config", "ct.yaml", "--charts", "charts/dask-flow"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_option_has_its_environment_variable():
    options = [each for each in cli.run.params if each.name not in ("target", "params", "args", "help")]

    assert len(options) >= 11
    for option in options:
        assert option.envvar == "DASK_FLOW_" + option.opts[0].removeprefix("--").replace("-", "_").upper()
    assert CliRunner().invoke(cli.run, ["--help"]).exit_code == 0


def test_chart_and_package_have_one_version():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    package = ast.parse((ROOT / "runner/src/dask_flow/__init__.py").read_text())
    version = next(
        node.value.value
        for node in package.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "__version__"
    )

    assert chart["version"] == chart["appVersion"] == version
