"""Every rendering is valid in every Kubernetes version that the chart supports, by what its API servers publish."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from rendering import CHART, with_jobs
from test_render import RUNS

# Renewed by `make schema`.
SCHEMAS = json.loads((Path(__file__).parent / "kubernetes_schemas.json").read_text())
VERSIONS = [version for versions, _ in SCHEMAS["ConfigMap"] for version in versions]
NOT_KUBERNETES = ("argoproj.io", "cert-manager.io", "monitoring.coreos.com")
EVERYTHING = {
    "global": {"imageRegistry": "mirror:5000", "imagePullSecrets": [{"name": "all"}]},
    "commonLabels": {"team": "a"},
    "commonAnnotations": {"cost": "1"},
    "imagePullSecrets": [{"name": "registry"}],
    "registry": {"server": "ghcr.io", "username": "me", "password": "secret"},
    "flow": {"files": {"flow.py": "def main(): return 1\n"}, "envFrom": [{"secretRef": {"name": "keys"}}]},
    "cluster": {"workerSpec": "kind: Pod", "schedulerSpec": "kind: Pod"},
    "report": {
        "persistentVolumeClaimSpec": {
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": "1Gi"}},
        }
    },
    "run": {
        "mode": "cronjob",
        "schedule": "0 3 * * *",
        "timeZone": "Europe/Berlin",
        "startingDeadlineSeconds": 600,
        "activeDeadlineSeconds": 60,
        "ttlSecondsAfterFinished": 60,
        "queueName": "team",
        "priorityClassName": "batch",
    },
    "networkPolicy": {
        "dashboardFrom": [{"namespaceSelector": {}}],
        "egress": [{"to": [{"ipBlock": {"cidr": "10.96.0.1/32"}}], "ports": [{"port": 443}]}],
    },
    "static": {
        "enabled": True,
        "tls": {"secretName": "tls"},
        "dashboard": {"ingress": {"enabled": True, "className": "nginx", "hosts": ["dask.example.com"]}},
        "workerGroups": [{"name": "big", "podDisruptionBudget": {"minAvailable": "50%"}}],
    },
}


@pytest.fixture(scope="session", params=VERSIONS)
def validator(request):
    """What validates an object of the kind that it names, in one version of Kubernetes."""
    definitions = {
        name: schema for name, variants in SCHEMAS.items() for versions, schema in variants if request.param in versions
    }

    def validate(each):
        schema = {"$ref": f"#/$defs/{each['kind']}", "$defs": definitions}
        errors = jsonschema.Draft202012Validator(schema).iter_errors(without_nulls(each))
        error = jsonschema.exceptions.best_match(errors)
        return error and f"{each['kind']} {each['metadata']['name']}: {error.json_path}: {error.message}"

    return validate


def without_nulls(value):
    """Leave out what is null, as an API server does."""
    if isinstance(value, dict):
        return {key: without_nulls(each) for key, each in value.items() if each is not None}
    return [without_nulls(each) for each in value] if isinstance(value, list) else value


def problems(validate, objects):
    ours = [each for each in with_jobs(objects) if each["apiVersion"].split("/")[0] not in NOT_KUBERNETES]
    assert ours
    return [found for found in map(validate, ours) if found]


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_every_object_is_valid(complete_chart, validator, path):
    assert problems(validator, complete_chart.objects("-f", str(path))) == []


def test_every_object_of_all_settings_is_valid(chart, validator):
    assert problems(validator, chart.objects(**EVERYTHING)) == []


def test_unknown_and_wrong_fields_are_not_valid(chart, validator):
    unknown, wrong = chart.only("CronJob"), chart.only("CronJob")
    unknown["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["resource"] = {}
    wrong["spec"]["suspend"] = "yes"

    found = problems(validator, [unknown, wrong])

    assert len(found) == 2
    assert "$.spec.jobTemplate.spec.template.spec.containers[0]: " in found[0]
    assert "'resource'" in found[0]
    assert "$.spec.suspend: 'yes' is not of type 'boolean'" in found[1]


def test_chart_is_for_these_versions(chart):
    declared = yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"]
    done = chart.run({}, "--kube-version", "1.31")

    assert re.fullmatch(r">=(\d+\.\d+)\.0-0", declared)[1] == VERSIONS[0] == "1.32"
    assert "which is incompatible with Kubernetes v1.31" in done.stderr
    for version in VERSIONS:
        assert chart.run({}, "--kube-version", version).returncode == 0
