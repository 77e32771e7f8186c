"""What all of a release shares: images and their registry, reports, labels, queues, and the pod of `helm test`."""

import base64
import importlib
import json
import re

import pytest
import yaml
from rendering import CHART, env, pod_templates, with_jobs

DOCS = sorted(CHART.parents[1].glob("docs/*.md"))
FLOW = {"files": {"flow.py": "def main(): return 1\n"}}
STATIC = {"enabled": True}
DASHBOARD = {"ingress": {"enabled": True, "className": "123", "hosts": ["dask.example"]}}
REGISTRY = {"server": "ghcr.io", "username": "me", "password": "secret", "email": "me@example.org"}
CLAIM = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
ALL_MODES = [
    {},
    {"run": {"mode": "cronjob", "schedule": "0 3 * * *"}},
    {"run": {"mode": "job"}},
    {"run": {"mode": "workflow"}},
    {"cluster": {"mode": "operator"}},
    {"cluster": {"mode": "local"}},
    {"static": {"enabled": True, "tls": {"secretName": "keys"}}},
    {"cluster": {"workerSpec": "kind: Pod", "minWorkers": 20, "maxWorkers": 200}},
]


def pull_secrets(template):
    return [each["name"] for each in template["spec"].get("imagePullSecrets", [])]


@pytest.mark.parametrize(
    ("repository", "image"),
    [
        ("ghcr.io/dask-flow/dask-flow", "mirror:5000/x/dask-flow/dask-flow:t"),
        ("localhost/flow", "mirror:5000/x/flow:t"),
        ("registry:5000/flow", "mirror:5000/x/flow:t"),
        ("localhost:5000/flow", "mirror:5000/x/flow:t"),
        ("127.0.0.1:5000/dev/flow", "mirror:5000/x/dev/flow:t"),
        ("ghcr.io/me/flow", "mirror:5000/x/me/flow:t"),
        ("library/flow", "mirror:5000/x/library/flow:t"),
        ("flow", "mirror:5000/x/flow:t"),
    ],
)
def test_global_registry_takes_the_place_of_the_images_own(chart, repository, image):
    values = {"global": {"imageRegistry": "mirror:5000/x"}, "image": {"repository": repository, "tag": "t"}}

    assert chart.pod(**values)["containers"][0]["image"] == image


def test_pull_secrets_are_those_of_all_charts_our_own_and_the_registrys(chart):
    values = {"global": {"imagePullSecrets": [{"name": "all"}]}, "imagePullSecrets": [{"name": "mine"}]}
    templates = pod_templates(chart.objects(**values, registry=REGISTRY, static=STATIC, flow=FLOW))

    assert len(templates) == 4
    assert all(pull_secrets(each) == ["all", "mine", "r-dask-flow-registry"] for each in templates)
    assert not pull_secrets(pod_templates(chart.objects(flow=FLOW))[0])


def test_registry_makes_the_secret_that_the_kubelet_reads(chart):
    secret = chart.only("Secret", registry=REGISTRY)
    config = json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))

    assert (secret["metadata"]["name"], secret["type"]) == ("r-dask-flow-registry", "kubernetes.io/dockerconfigjson")
    found = config["auths"]["ghcr.io"]
    assert base64.b64decode(found.pop("auth")).decode() == "me:secret"
    assert found == {"username": "me", "password": "secret", "email": "me@example.org"}


@pytest.mark.parametrize(
    ("report", "path"),
    [
        ({"url": "s3://b/reports"}, "s3://b/reports"),
        ({"persistentVolumeClaim": "mine"}, "/var/lib/dask-flow/report"),
        ({"persistentVolumeClaimSpec": CLAIM}, "/var/lib/dask-flow/report"),
    ],
)
def test_reports_go_where_the_values_say_and_the_runner_may_read_logs(chart, report, path):
    values = {"flow": FLOW, "report": report}
    pod = chart.pod(**values)
    claims = [each["persistentVolumeClaim"]["claimName"] for each in pod["volumes"] if each["name"] == "report"]
    mounts = [each["mountPath"] for each in pod["containers"][0]["volumeMounts"] if each["name"] == "report"]
    made = chart.of_kind("PersistentVolumeClaim", **values)

    assert env(pod)["DASK_FLOW_REPORT"] == path
    assert claims == ([] if "url" in report else [report.get("persistentVolumeClaim", "r-dask-flow-report")])
    assert mounts == [path] * len(claims)
    assert {name: each["spec"] for name, each in made.items()} == (
        {"r-dask-flow-report": CLAIM} if "persistentVolumeClaimSpec" in report else {}
    )
    for mode in ("pods", "operator"):
        rule = chart.only("Role", **values, cluster={"mode": mode})["rules"][-1]
        assert (rule["resources"], rule["verbs"]) == (["pods/log"], ["get"])


def test_without_a_report_logs_are_not_for_the_runner(chart):
    assert "pods/log" not in chart.text(flow=FLOW)
    assert "DASK_FLOW_REPORT" not in env(chart.pod(flow=FLOW))


@pytest.mark.parametrize("values", [*ALL_MODES[:4], {"static": STATIC, "registry": REGISTRY}])
def test_common_labels_and_annotations_are_everywhere_and_change_no_selector(chart, values):
    common = {"commonLabels": {"team": "a", "app.kubernetes.io/name": "x"}, "commonAnnotations": {"cost": "1"}}
    before, after = chart.objects(**{"flow": FLOW, **values}), chart.objects(**{"flow": FLOW, **values, **common})

    assert len(before) == len(after)
    job_templates = [each["spec"]["jobTemplate"] for each in after if each["kind"] == "CronJob"]
    for each in [*after, *pod_templates(after), *job_templates]:
        assert each["metadata"]["labels"]["team"] == "a"
        assert each["metadata"]["labels"]["app.kubernetes.io/name"] == "dask-flow"
        assert each["metadata"]["annotations"]["cost"] == "1"
    for one, other in zip(before, after, strict=True):
        assert one.get("spec", {}).get("selector") == other.get("spec", {}).get("selector")


@pytest.mark.parametrize("name", ["1234", "1e5", "true"])
@pytest.mark.parametrize(
    "values", [*ALL_MODES[:4], {"static": {**STATIC, "tls": {"secretName": "123"}, "dashboard": DASHBOARD}}]
)
def test_names_that_look_like_other_values_are_texts(chart, values, name):
    account = {"serviceAccount": {"name": name}, "report": {"persistentVolumeClaim": name}}
    override = {"fullnameOverride": "x"} if "static" in values else {"nameOverride": name}
    run = {**values.get("run", {}), "queueName": name}
    cluster = {**values.get("cluster", {}), "queueName": name}
    given = {"flow": FLOW, **values, **account, **override, "run": run, "cluster": cluster}
    done = chart.run(given, release=name, namespace=name)
    objects = with_jobs(list(yaml.safe_load_all(done.stdout)))

    assert objects, done.stderr
    for each in objects:
        labels = each["metadata"]["labels"]
        assert (each["metadata"]["namespace"], labels["app.kubernetes.io/instance"]) == (name, name)
    assert [(key, value) for key, value in texts(objects) if not isinstance(value, str)] == []


def texts(value):
    """Yield, by their keys, what are names and labels, anywhere in a value."""
    if isinstance(value, list):
        for each in value:
            yield from texts(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            if not isinstance(each, (dict, list)) and re.search(r"[nN]ame$|^namespace$|^kueue|\.io/", key):
                yield key, each
            yield from texts(each)


def test_runners_pod_has_its_own_labels_and_annotations(chart):
    given = {"podLabels": {"a": "b", "dask-flow/release": "x"}, "podAnnotations": {"c": "d"}}
    metadata = chart.job_spec(flow=FLOW, runner=given)["template"]["metadata"]

    assert (metadata["labels"]["a"], metadata["annotations"]["c"]) == ("b", "d")
    assert metadata["labels"]["dask-flow/release"] == "r-dask-flow"


def test_queue_is_the_jobs_and_the_pods(chart):
    template = chart.only("CronJob", flow=FLOW, run={"queueName": "team"})["spec"]["jobTemplate"]
    job = chart.only("Job", flow=FLOW, run={"queueName": "team", "mode": "job"})

    for each in (template, job, template["spec"]["template"], job["spec"]["template"]):
        assert each["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team"


@pytest.mark.parametrize("run", [{}, {"queueName": "team"}])
def test_queue_of_the_clusters_pods_is_none_of_the_runners(chart, run):
    job = chart.only("Job", flow=FLOW, run={**run, "mode": "job"}, cluster={"queueName": "workers"})
    queue = run.get("queueName")

    for each in (job, job["spec"]["template"]):
        assert each["metadata"]["labels"].get("kueue.x-k8s.io/queue-name") == queue
    assert env(job["spec"]["template"]["spec"])["DASK_FLOW_QUEUE_NAME"] == "workers"


def test_priority_class_is_the_runners(chart):
    assert chart.pod(flow=FLOW, run={"priorityClassName": "batch"})["priorityClassName"] == "batch"
    assert "priorityClassName" not in chart.pod(flow=FLOW)


def test_cronjob_keeps_and_starts_runs_as_the_values_say(chart):
    run = {"mode": "cronjob", "schedule": "0 3 * * *", "startingDeadlineSeconds": 600, "failedJobsHistoryLimit": 0}
    spec = chart.only("CronJob", flow=FLOW, run=run)["spec"]

    assert (spec["startingDeadlineSeconds"], spec["failedJobsHistoryLimit"]) == (600, 0)
    assert spec["successfulJobsHistoryLimit"] == 3


def test_job_waits_in_argo_cd_for_the_static_cluster(chart):
    def annotations(kind, mode="job", **values):
        report = {"persistentVolumeClaimSpec": CLAIM}
        return chart.only(kind, flow=FLOW, run={"mode": mode}, report=report, **values)["metadata"].get("annotations")

    # Its claim goes with it: one that waits for its first pod would keep all that is later waiting.
    for kind in ("Job", "PersistentVolumeClaim"):
        assert annotations(kind, static=STATIC) == {"argocd.argoproj.io/sync-wave": "1"}
        assert annotations(kind) is None
    assert annotations("PersistentVolumeClaim", mode="template", static=STATIC) is None


def test_extra_objects_are_rendered_as_templates(chart):
    name = '{{ include "dask-flow.fullname" . }}-{{ .Release.Namespace }}'
    extra = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"a": "b"}}

    assert chart.only("Secret", extraObjects=[extra])["metadata"]["name"] == "r-dask-flow-ns"


def test_values_in_the_docs_are_rendered(chart):
    names = json.loads((CHART / "values.schema.json").read_text())["properties"].keys()
    block = re.compile(r"^```yaml\n(.*?)^```", re.DOTALL | re.MULTILINE)
    texts = [text for page in DOCS for text in block.findall(page.read_text())]
    examples = [values for values in map(yaml.safe_load, texts) if values.keys() <= names]
    rules = {name: rule for values in examples for name, rule in chart.of_kind("PrometheusRule", **values).items()}

    assert len(examples) >= 5
    (rule,) = rules["nightly-runs"]["spec"]["groups"][0]["rules"]
    assert 'owner_name="r-dask-flow"' in rule["expr"]
    assert rule["annotations"]["summary"] == "Run {{ $labels.job_name }} failed"


@pytest.mark.parametrize("cluster", [{}, {"mode": "static", "address": "tcp://s:8786"}], ids=["pods", "static"])
@pytest.mark.parametrize("mode", ["template", "cronjob", "job", "workflow"])
def test_runner_has_the_urls_to_notify_from_the_secret_and_may_read_its_job(chart, mode, cluster):
    notify = {"secretName": "alerts", "secretKey": "slack", "when": "both"}
    values = {"flow": FLOW, "cluster": cluster, "run": {"mode": mode, "schedule": "0 3 * * *"}}

    def rendered(**run):
        objects = chart.objects(**{**values, "run": {**values["run"], **run}})
        rules = [
            rule
            for each in objects
            if each["kind"] == "Role" and each["metadata"]["name"] == "r-dask-flow"
            for rule in each["rules"]
        ]
        pods = {
            each["metadata"]["labels"]["app.kubernetes.io/component"]: each["spec"] for each in pod_templates(objects)
        }
        return pods, rules

    pods, rules = rendered(notify=notify)
    _, before = rendered()

    assert pods["runner"]["automountServiceAccountToken"] is True
    variables = {each["name"]: each for each in pods["runner"]["containers"][0]["env"]}
    assert variables["DASK_FLOW_NOTIFY"]["valueFrom"] == {"secretKeyRef": {"name": "alerts", "key": "slack"}}
    assert variables["DASK_FLOW_NOTIFY_WHEN"]["value"] == "both"
    assert [rule for rule in rules if rule not in before] == [
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get"]}
    ]
    assert not [name for name in env(pods["test"]) if name.startswith("DASK_FLOW_NOTIFY")]


@pytest.mark.parametrize("values", ALL_MODES)
def test_test_pod_is_a_runner_of_this_release_with_another_flow_on_one_worker(chart, values):
    secret = {"secretRef": {"name": "keys"}}
    flow = {**FLOW, "params": {"x": 1}, "args": ["a"], "env": [{"name": "A", "value": "b"}], "envFrom": [secret]}
    values = {"flow": flow, "report": {"persistentVolumeClaim": "mine"}, **values}
    objects = chart.objects(**values)
    test = next(each for each in objects if each["kind"] == "Pod")
    (runner,) = (
        each for each in pod_templates(objects) if each["metadata"]["labels"]["app.kubernetes.io/component"] == "runner"
    )
    theirs, ours = env(runner["spec"]), env(test["spec"])

    assert test["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert test["spec"]["containers"][0]["args"] == ["run", "dask_flow.selftest"]
    of_the_run = {"DASK_FLOW_PARAMS", "DASK_FLOW_ARGS", "DASK_FLOW_REPORT"}
    workers = {"DASK_FLOW_MIN_WORKERS": "1", "DASK_FLOW_MAX_WORKERS": "1"}
    assert ours == {name: value for name, value in theirs.items() if name not in of_the_run} | workers
    assert test["spec"]["containers"][0]["envFrom"] == [secret]
    for key in ("serviceAccountName", "automountServiceAccountToken", "securityContext", "restartPolicy"):
        assert test["spec"][key] == runner["spec"][key]


def test_flow_of_the_test_pod_gives_its_result():
    flow = importlib.import_module("dask_flow.selftest").flow

    assert flow.run().is_successful()


@pytest.mark.parametrize("mode", ["template", "cronjob", "job", "workflow"])
def test_notes_follow_a_run_across_its_attempts(chart, mode):
    schedule = {"schedule": "0 3 * * *"} if mode == "cronjob" else {}

    notes = chart.notes(flow=FLOW, run={"mode": mode, **schedule})

    (run,) = re.findall(r"^  dask-flow logs -n ns -f (\S+)$", notes, re.MULTILINE)
    assert f"see one attempt at a time:\nkubectl logs -n ns -f job/{run}\n" in notes
    assert "until kubectl logs" not in notes
