"""What values the chart takes and refuses, and that its documentation and its linter know them."""

import ast
import json
import re
import subprocess

import pytest
import yaml
from click.testing import CliRunner
from dask_flow import cli
from rendering import CHART, env

ROOT = CHART.parents[1]
FLOW = {"files": {"flow.py": "def main(): return 1\n"}}
SCHEMA = json.loads((CHART / "values.schema.json").read_text())

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
    ({"cluster": {"address": "tcp://s:1", "tlsSecretName": "s"}}, "cluster.tlsSecretName is for .* begin with tls://"),
    ({"cluster": {"mode": "pods", "tlsSecretName": "s"}}, "cluster.tlsSecretName is for a static cluster with TLS"),
    ({"static": {"worker": {"name": "x"}}}, "static/worker"),
    ({"static": {"worker": {"nthreads": 0}}}, "nthreads"),
    ({"static": {"worker": {"nworkers": 0}}}, "nworkers"),
    ({"static": {"worker": {"replicas": -1}}}, "replicas"),
    ({"static": {"worker": {"memoryLimit": 5}}}, "memoryLimit"),
    ({"static": {"worker": {"daskResources": {"GPU": "1"}}}}, "GPU"),
    ({"static": {"worker": {"daskResources": {"A B": 1}}}}, "A B"),
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
]


@pytest.mark.parametrize(("values", "message"), WRONG)
def test_wrong_values_are_refused_with_their_key(chart, values, message):
    assert re.search(message, chart.error(**values))


def test_a_minimum_alone_is_no_mistake(chart):
    assert env(chart.pod(flow=FLOW, cluster={"minWorkers": 3}))["DASK_FLOW_MIN_WORKERS"] == "3"


def leaves(values, node=SCHEMA, prefix=()):
    """Yield the path of each value, each of which must be in the schema; what passes through whole is one value."""
    for key, value in values.items():
        assert key in properties(node), f"{'.'.join((*prefix, key))} is not in the schema"
        below = properties(node)[key]
        if isinstance(value, dict) and properties(below):
            yield from leaves(value, below, (*prefix, key))
        else:
            yield (*prefix, key)


def properties(node):
    if "$ref" in node:
        return properties(SCHEMA["definitions"][node["$ref"].rpartition("/")[2]])
    parts = [properties(part) for part in node.get("allOf", [])]
    return {key: value for part in [*parts, node.get("properties", {})] for key, value in part.items()}


def test_every_value_is_in_the_schema_in_a_template_and_in_the_readme():
    templates = "".join(path.read_text() for path in (CHART / "templates").rglob("*.*"))
    readme = (CHART / "README.md").read_text()
    keys = list(leaves(yaml.safe_load((CHART / "values.yaml").read_text())))

    assert len(keys) > 25
    for key in keys:
        if key[0] != "operator" or key[-1] == "enabled":
            assert re.search(rf"\.{key[-1]}\b", templates), f"{'.'.join(key)} is used nowhere"
        assert f"| {'.'.join(key)} |" in readme


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
