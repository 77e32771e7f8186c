"""What values the chart takes and refuses, and that its documentation and its linter know them."""

import ast
import copy
import importlib.util
import json
import re
import subprocess

import pytest
import yaml
from click.testing import CliRunner
from dask_flow import cli
from dask_flow.errors import InputError
from dask_flow.settings import resolve
from rendering import CHART, Chart, env
from template_values import used_values

ROOT = CHART.parents[1]
FLOW = {"files": {"flow.py": "def main(): return 1\n"}}
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
MOVED = {
    "worker": "static.worker",
    "scheduler": "static.scheduler",
    "webUI": "static.dashboard",
    "additional_worker_groups": "static.workerGroups",
}
SPEC = importlib.util.spec_from_file_location("values_schema", ROOT / "tests/tools/values_schema.py")
values_schema = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(values_schema)

WRONG = [
    ({"cluster": {"minWorkers": 0}}, "cluster.minWorkers|/cluster/minWorkers"),
    ({"cluster": {"minWorkers": "2"}}, "minWorkers"),
    (
        {"cluster": {"minWorkers": 3, "maxWorkers": 2}},
        r"cluster.minWorkers \(3\) is more than cluster.maxWorkers \(2\)",
    ),
    ({"cluster": {"mode": "moon"}}, "mode"),
    ({"cluster": {"mode": "static"}}, "so cluster.address must name the scheduler, .* or static.enabled=true make one"),
    ({"cluster": {"address": "tcp://s:1", "mode": "pods"}}, "cluster.address is set, but cluster.mode is pods"),
    ({"cluster": {"address": "tcp://s:1", "mode": "operator"}}, "cluster.address is set, but .* is operator"),
    ({"cluster": {"mode": "operator", "tls": True}}, "cluster.tls is true, but the Dask operator's .* plain TCP"),
    ({"cluster": {"mode": "operator", "scheduler": "runner"}}, "cluster.scheduler is runner, but the Dask operator"),
    ({"cluster": {"tls": True, "address": "tcp://s:1"}}, "cluster.tls is true, but .* cluster.address .* is tcp://s:1"),
    ({"cluster": {"tls": False, "address": "tls://s:1"}}, "cluster.tls is false, but .* is tls://s:1; leave .*tls out"),
    ({"cluster": {"tls": True}, "static": {"enabled": True}}, "cluster.tls is true, but .* static.tls is tcp://r-dask"),
    ({"cluster": {"workers": 2}}, "workers"),
    ({"cluster": {"startupTimeoutSeconds": 0}}, "startupTimeoutSeconds"),
    ({"run": {"mode": "daily"}}, "mode"),
    ({"run": {"mode": "cronjob"}, "flow": FLOW}, "run.mode is cronjob, so run.schedule must say when"),
    ({"run": {"mode": "job"}}, "run.mode job needs a flow"),
    ({"run": {"backoffLimit": -1}}, "backoffLimit"),
    ({"run": {"concurrencyPolicy": "Maybe"}}, "concurrencyPolicy"),
    ({"flow": {"files": {"a.py": "", "b.py": ""}}}, "flow.files has several files; set flow.target .* a.py, b.py"),
    ({"flow": {"files": {"a/b.py": ""}}}, "a/b.py"),
    ({"flow": {"files": {**dict.fromkeys(map(str, range(20)), ""), "a/b.py": ""}}}, "flow/files.* properties 'a/b.py'"),
    ({"flow": {"files": {".": ""}}}, r"flow/files.* properties '\.'"),
    ({"flow": {"files": {"..": ""}}}, r"flow/files.* properties '\.\.'"),
    ({"flow": {"files": {"..a": ""}}}, r"flow/files.* properties '\.\.a'"),
    ({"flow": {"files": {"a.py": 1}}}, "flow/files/a.py.*string"),
    ({"flow": {"env": [{"value": "1"}]}}, "name"),
    ({"flow": {"args": "--days 7"}}, "args"),
    ({"flow": {"args": [7]}}, "args"),
    ({"image": {"digest": "sha256:1"}}, "digest"),
    ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
    ({"flows": {}}, "flows"),
    ({"cluster": {"address": "tcp://s:1", "tlsSecretName": "s"}}, "cluster.tlsSecretName is for .* begin with tls://"),
    ({"cluster": {"mode": "pods", "tlsSecretName": "s"}}, "cluster.tlsSecretName is for a static cluster with TLS"),
    ({"static": {"worker": {"name": "x"}}}, "static/worker"),
    ({"static": {"worker": {"nthreads": 0}}}, "nthreads"),
    ({"static": {"worker": {"nworkers": 0}}}, "nworkers"),
    ({"static": {"worker": {"replicas": -1}}}, "replicas"),
    ({"static": {"worker": {"memoryLimit": 5}}}, "memoryLimit"),
    ({"static": {"worker": {"daskResources": {"GPU": "1"}}}}, "GPU"),
    ({"static": {"worker": {"daskResources": {"A B": 1}}}}, "A B"),
    (
        {"static": {"worker": {"daskResources": {**dict.fromkeys(map(str, range(20)), 1), "A B": 1}}}},
        "daskResources.* properties 'A B'",
    ),
    ({"static": {"worker": {"terminationGracePeriodSeconds": 0}}}, "terminationGracePeriodSeconds"),
    ({"static": {"workerGroups": [{"replicas": 1}]}}, "name"),
    ({"static": {"workerGroups": [{"name": "x", "replica": 1}]}}, "replica"),
    ({"static": {"workerGroups": [{"name": "Big_one"}]}}, "Big_one"),
    ({"static": {"workerGroups": [{"name": "x"}, {"name": "x"}]}}, "static.workerGroups has two groups named x"),
    ({"static": {"workerGroups": [{"name": "default"}]}}, "two groups named default"),
    ({"static": {"service": {"name": "Dask_scheduler"}}}, "Dask_scheduler"),
    ({"static": {"service": {"port": 0}}}, "port"),
    ({"static": {"service": {"type": "ExternalName"}}}, "type"),
    ({"static": {"dashboard": {"ingress": {"enabled": True}}}}, "static.dashboard.ingress.hosts must name a host"),
    ({"static": {"tls": {"certificate": {"duration": "24h"}}}}, "static.tls.certificate needs issuerRef"),
    ({"static": {"env": [{"value": "1"}]}}, "name"),
    ({"static": {"image": {}}}, "image"),
    ({"metrics": {"serviceMonitor": {"enabled": True}}}, "are for the static cluster; set static.enabled=true"),
    ({"metrics": {"podMonitor": {"interval": "often"}}}, "interval"),
    ({"operator": {"enabled": "yes"}}, "operator"),
    ({"operator": {"nameOverride": ""}}, "/operator/nameOverride"),
    ({"nameOverride": "My_name"}, "nameOverride"),
    ({"fullnameOverride": "x" * 53}, "fullnameOverride"),
    ({"image": {"repository": ""}}, "repository"),
    ({"image": {"repository": "ghcr.io/flow:1 "}}, "repository"),
    ({"image": {"repository": "flow:1"}}, "/image/repository"),
    ({"image": {"repository": "ghcr.io:443/me/flow:1"}}, "/image/repository"),
    ({"image": {"tag": 1.1}}, "/image/tag.*string"),
    ({"image": {"tag": "a/b"}}, "/image/tag"),
    ({"image": {"registry": "ghcr.io"}}, "registry"),
    ({"global": {"imageRegistry": "mirror/"}}, "imageRegistry"),
    ({"global": {"imagePullSecrets": ["x"]}}, "imagePullSecrets/0.*object"),
    ({"imagePullSecrets": [{"name": ""}]}, "imagePullSecrets/0/name"),
    ({"registry": {"server": "ghcr.io"}}, "registry.server needs registry.username and registry.password; or name"),
    ({"registry": {"username": "me"}}, "are for registry.server, which is not set, such as ghcr.io"),
    ({"registry": {"server": "gh cr.io"}}, "/registry/server"),
    ({"commonLabels": {"team": "a b"}}, "commonLabels/team"),
    ({"commonLabels": {"team": 1}}, "commonLabels/team.*string"),
    ({"commonAnnotations": {"a": True}}, "commonAnnotations/a.*string"),
    ({"serviceAccount": {"name": "My account"}}, "/serviceAccount/name"),
    ({"flow": {"env": [{"name": "A", "value": 1}]}}, "flow/env/0/value.*string"),
    ({"flow": {"env": [{"name": "A", "val": "1"}]}}, "flow/env/0.*val"),
    ({"flow": {"envFrom": [{"secret": {"name": "x"}}]}}, "flow/envFrom/0.*secret"),
    ({"flow": {"envFrom": [{"secretRef": {}}]}}, "flow/envFrom/0/secretRef.*name"),
    ({"flow": {"files": {"flow.py": "#" * 1_000_001}}}, "flow.files has 10000.. bytes, and a ConfigMap holds 1 MiB"),
    ({"cluster": {"image": "a b"}}, "/cluster/image"),
    ({"cluster": {"maxWorkers": 2.5}}, "maxWorkers"),
    ({"cluster": {"scheduler": "runner", "schedulerSpec": "kind: Pod"}}, "leave out one of the two"),
    ({"cluster": {"adaptive": {"waitCount": 0}}}, "waitCount"),
    ({"cluster": {"allowedFailures": -1}}, "allowedFailures"),
    ({"run": {"schedule": "every day"}}, "/run/schedule"),
    ({"run": {"schedule": "TZ=UTC 0 3 * * *"}}, "/run/schedule"),
    ({"run": {"timeZone": "Local"}}, "/run/timeZone"),
    ({"run": {"startingDeadlineSeconds": 5}}, "startingDeadlineSeconds.*10"),
    ({"run": {"successfulJobsHistoryLimit": -1}}, "successfulJobsHistoryLimit"),
    ({"run": {"failedJobsHistoryLimit": None}}, "failedJobsHistoryLimit"),
    ({"run": {"queueName": "Team A"}}, "/run/queueName"),
    ({"cluster": {"queueName": "Team A"}}, "/cluster/queueName"),
    ({"run": {"priorityClassName": "High"}}, "/run/priorityClassName"),
    ({"run": {"notify": {"secretName": "My alerts"}}}, "/run/notify/secretName"),
    ({"run": {"notify": {"secretName": "alerts", "secretKey": "a/b"}}}, "/run/notify/secretKey"),
    ({"run": {"notify": {"secretName": "alerts", "when": "always"}}}, "/run/notify/when"),
    ({"run": {"notify": {"when": "both"}}}, "run.notify.when are for run.notify.secretName, which is not set"),
    ({"run": {"notify": {"secretKey": "a"}}}, "run.notify.when are for run.notify.secretName, which is not set"),
    ({"run": {"ttlSecondsAfterFinished": "1h"}}, "ttlSecondsAfterFinished"),
    ({"run": {"suspend": "no"}}, "suspend"),
    ({"run": {"mode": "workflow"}}, "run.mode workflow needs a flow"),
    ({"runner": {"resources": {"request": {}}}}, "runner/resources.*request"),
    ({"runner": {"resources": {"limits": {"memory": "2 GB"}}}}, "runner/resources/limits/memory"),
    ({"runner": {"podSpec": {"containers": [{"image": "x"}]}}}, "runner/podSpec/containers/0.*name"),
    ({"runner": {"podLabels": {"a": "-"}}}, "runner/podLabels/a"),
    ({"report": {"url": "s3://a b"}}, "/report/url"),
    (
        {"report": {"url": "s3://a", "persistentVolumeClaim": "b"}},
        "set only one of report.url, report.persistentVolumeClaim and report.persistentVolumeClaimSpec",
    ),
    ({"report": {"persistentVolumeClaimSpec": {"accessModes": ["Once"]}}}, "accessModes/0"),
    ({"networkPolicy": {"dashboardFrom": [{}]}}, "networkPolicy/dashboardFrom/0"),
    ({"networkPolicy": {"dashboardFrom": [{"cidr": "10.0.0.0/8"}]}}, "networkPolicy/dashboardFrom/0.*cidr"),
    ({"networkPolicy": {"schedulerFrom": {"podSelector": {}}}}, "networkPolicy/schedulerFrom.*array"),
    ({"networkPolicy": {"egress": [{"from": []}]}}, "networkPolicy/egress/0.*from"),
    ({"static": {"dashboard": {"ingress": {"hosts": ["https://dask"]}}}}, "ingress/hosts/0"),
    ({"static": {"tls": {"secretName": "my keys"}}}, "/static/tls/secretName"),
    ({"extraObjects": [{"kind": "Secret"}]}, "extraObjects/0.*apiVersion"),
]


@pytest.mark.parametrize(("values", "message"), WRONG)
def test_wrong_values_are_refused_with_their_key(chart, values, message):
    assert re.search(message, chart.error(**values))


@pytest.mark.parametrize(
    "address",
    ["tcp://s:1", "wss://s:1", "ucx://s:1", "s:1", "tls://[::1]:1", "tcp://s", "tcp://s:", "tcp://a b:1", "ftp://s:1"],
)
def test_addresses_are_refused_if_the_runner_would(chart, address):
    done = chart.run({"cluster": {"address": address}})
    try:
        resolve({"target": "f", "address": address}, {})
    except InputError:
        assert "/cluster/address" in done.stderr
    else:
        assert done.returncode == 0


@pytest.mark.parametrize(
    ("name", "read", "such"),
    [("n", "false", "n"), ("no", "false", "n"), ("off", "false", "n"), ("y", "true", "y"), ("on", "true", "y")],
)
@pytest.mark.parametrize("helm", ["helm3", "helm"])
def test_parameters_whose_names_yaml_reads_as_truth_values_are_refused(tmp_path, helm, name, read, such):
    (tmp_path / "plain.yaml").write_text(f"flow: {{params: {{{name}: 4}}}}\n")
    (tmp_path / "quoted.yaml").write_text(f'flow: {{params: {{"{name}": 4}}}}\n')
    plain, quoted = (Chart(helm=helm).run({}, "-f", tmp_path / f"{each}.yaml") for each in ("plain", "quoted"))

    assert f"flow.params has the key {read}: YAML reads {such}" in plain.stderr
    assert f'quote the parameter\'s name, such as "{such}": 4' in plain.stderr
    assert f'{{"{name}":4}}' in quoted.stdout


def test_a_minimum_alone_is_no_mistake(chart):
    assert env(chart.pod(flow=FLOW, cluster={"minWorkers": 3}))["DASK_FLOW_MIN_WORKERS"] == "3"


def leaves(values, node=SCHEMA, prefix=()):
    """Yield the path of each value, each of which must be in the schema; what passes through whole is one value."""
    for key, value in values.items():
        assert key in properties(node), f"{'.'.join((*prefix, key))} is not in the schema"
        below = properties(node)[key]
        if isinstance(value, dict) and properties(below) and value:
            yield from leaves(value, below, (*prefix, key))
        else:
            yield (*prefix, key)


def resolved(node):
    return SCHEMA["definitions"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node


def properties(node):
    parts = [properties(part) for part in resolved(node).get("allOf", [])]
    return {key: value for part in [*parts, resolved(node).get("properties", {})] for key, value in part.items()}


VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
KEYS = list(leaves(VALUES))
# What Helm and the operator's chart read themselves.
OTHERS = {("operator", "podSecurityContext")}
TEMPLATES = sorted(path for path in (CHART / "templates").rglob("*") if path.is_file())
USED = set().union(*(used_values(path.read_text()) for path in TEMPLATES))


def test_every_value_is_used_by_a_template():
    parts = {path[:length] for path in USED for length in range(1, len(path) + 1)}

    assert len(KEYS) > 90
    assert [".".join(key) for key in KEYS if key not in parts | OTHERS] == []


def known(path, node):
    """Whether there is such a value; what is empty by default passes through whole, with all that is below."""
    if not path or not isinstance(node, dict) or not node:
        return True
    return path[0] in node and known(path[1:], node[path[0]])


def test_every_value_that_a_template_uses_is_in_the_values():
    of_groups_only = {("static", "worker", "name")}

    assert len(USED) > 90
    assert [".".join(path) for path in sorted(USED - of_groups_only) if not known(path, VALUES)] == []


@pytest.mark.parametrize(
    ("text", "used"),
    [
        ("{{ .Values.a.b }}{{ $.Values.c }}{{ .root.Values.d }}", {("a", "b"), ("c",), ("d",)}),
        ("{{- with .Values.a }}{{ .b }}{{ $.c }}{{- else }}{{ .d }}{{ end }}{{ .e }}", {("a",), ("a", "b")}),
        ("{{ with .Values.a }}{{ range .b }}{{ .c }}{{ end }}{{ .d }}{{ end }}", {("a",), ("a", "b"), ("a", "d")}),
        ("{{ with .Values.a }}{{ if and .b (not .c.d) }}x{{ end }}{{ end }}", {("a",), ("a", "b"), ("a", "c", "d")}),
        ('{{ include "x.y" . }}{{/* .Values.z */}}{{ with f .Values.a }}{{ .b }}{{ end }}', {("a",)}),
        ("{{ .group.name }}{{ $group.x }}", {("static", "worker", "name"), ("static", "worker", "x")}),
    ],
)
def test_values_are_found_in_a_templates_text(text, used):
    assert used_values(text) == used


def test_every_value_is_in_the_readme_and_in_one_sentence():
    readme = (CHART / "README.md").read_text()

    for key in KEYS:
        row = next(line for line in readme.splitlines() if line.startswith(f"| {'.'.join(key)} |"))
        assert row.rstrip(" |").endswith(".")


def test_every_property_of_the_schema_is_described():
    nodes = [SCHEMA]
    for node in nodes:
        for key, below in node.items():
            if key == "properties":
                for name, part in below.items():
                    assert part is False or part.get("description"), f"{name} has no description"
            nodes += [each for each in (below, *(below if isinstance(below, list) else ())) if isinstance(each, dict)]


def test_schema_knows_no_value_that_there_is_not():
    def unknown(node, values, prefix):
        for key, below in properties(node).items():
            if key not in values:
                yield f"{prefix}{key}"
            elif isinstance(values[key], dict) and values[key]:
                yield from unknown(below, values[key], f"{prefix}{key}.")

    others = {"enabled", "dask-kubernetes-operator", "static.worker.name", *MOVED}
    assert set(unknown(SCHEMA, VALUES, "")) == others


def test_schema_repeats_what_values_and_readme_say():
    readme = (CHART / "README.md").read_text()
    found = {each["key"]: each["text"] for each in values_schema.ROW.finditer(readme)}

    made = values_schema.renewed(copy.deepcopy(SCHEMA), VALUES, found)

    assert json.dumps(made) == json.dumps(SCHEMA), "run `make docs`"


@pytest.mark.parametrize("key", ["run.mode", "networkPolicy", "static.worker.nthreads", "global.imageRegistry"])
def test_values_that_are_taken_away_are_missed(chart, key):
    values = None
    for part in reversed(key.split(".")):
        values = {part: values}

    assert key.rpartition(".")[2] in chart.error(**values)


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_keys_of_another_chart_are_refused_with_their_name_here(chart, old, new):
    assert f"{old} is a key of dask/helm-chart; here it is {new}" in chart.error(**{old: {}})


@pytest.mark.parametrize("values", [{"global": {"other": 1}}, {"enabled": True}, {"operator": {"image": {"tag": "x"}}}])
def test_values_of_other_charts_are_let_through(chart, values):
    assert chart.objects(**values)


def test_readme_is_fresh(tmp_path):
    done = subprocess.run(
        ["helm-docs", "--chart-search-root", str(CHART.parent), "--dry-run", "--log-level", "error"],
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
