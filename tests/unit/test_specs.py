import json
import os
from pathlib import Path

import pytest
import yaml
from dask_flow.errors import InputError
from dask_flow.params import parse_params
from dask_flow.settings import RunSettings
from dask_flow.specs import parse_spec, read_templates

SEED = Path(__file__).parent / "worker_spec.yaml"
SEED_DOCUMENT = Path(__file__).parents[3] / "shared/seeds/dask-kubernetes-environment.txt"
PARAMS = parse_params(None, ["n=7", "of={a: b}"])
VARIABLES = {"image": "example.org/flow:1", "namespace": "jobs", "run": "nightly", "flow": "sums", "params": PARAMS}
VARIABLES["env"] = os.environ
AS_TEXT = (
    "a spec is a Jinja2 template: write a variable as {{ name }}, "
    "{{ '{%' }} for the text {%, {{ '{#' }} for {#, and ${{ '{#' }} for ${#"
)


def parse(spec, role="worker"):
    text = spec if isinstance(spec, str) else json.dumps(spec)
    return parse_spec(text, Path(f"{role}_spec.yaml"), role)


def worker(**container):
    return {"spec": {"containers": [{"name": "worker", **container}]}}


def read(tmp_path, text, **settings):
    path = tmp_path / "worker_spec.yaml"
    path.write_text(text)
    return read_templates(RunSettings(target="f", worker_spec=path, **settings), VARIABLES)


def test_seeds_spec_becomes_todays_with_a_warning_for_each_change():
    template = parse_spec(SEED.read_text(), SEED)
    container = template.pod["spec"]["containers"][0]

    assert template.replicas == 2
    assert [warning.removeprefix(f"{SEED}: ") for warning in template.warnings] == [
        "spec.replicas is not a Pod's; it sets the minimum of workers to 2: use --min-workers",
        "dask-worker is now dask worker",
        "--no-bokeh is now --no-dashboard",
    ]
    assert "replicas" not in template.pod["spec"]
    assert container["args"] == ["dask", "worker", "--nthreads", "2", "--no-dashboard", "--memory-limit", "4GB"]


@pytest.mark.skipif(not SEED_DOCUMENT.exists(), reason="the seeds are not beside the project")
def test_the_spec_of_the_tests_is_the_seeds():
    assert SEED.read_text().strip() in SEED_DOCUMENT.read_text()


def test_template_without_kind_and_without_containers_gets_the_default_one():
    template = parse({"spec": {"nodeSelector": {"disk": "ssd"}, "volumes": [{"name": "data", "emptyDir": {}}]}})

    assert template.pod["spec"]["nodeSelector"] == {"disk": "ssd"}
    assert template.pod["spec"]["containers"][0]["args"][:2] == ["dask", "worker"]
    assert [volume["name"] for volume in template.pod["spec"]["volumes"]] == ["data", "tmp"]


def test_volume_of_the_default_containers_may_be_the_specs_own():
    own = {"name": "tmp", "emptyDir": {"sizeLimit": "2Gi"}}

    template = parse({"spec": {"volumes": [own]}})

    assert template.pod["spec"]["volumes"] == [own]


def test_jobs_pod_template_is_the_schedulers():
    job = yaml.safe_load("""
    apiVersion: batch/v1
    kind: Job
    metadata: {name: prefect-dask-job}
    spec:
      template:
        metadata: {labels: {foo: bar}}
        spec:
          restartPolicy: Never
          containers:
            - name: flow
              image: scheduler:1
              command: [/bin/sh, -c]
              args: ["python -c 'import prefect; prefect.environments.execution.load_and_run_flow()'"]
    """)
    template = parse(job, "scheduler")

    assert template.pod["metadata"] == {"labels": {"foo": "bar"}}
    assert template.pod["spec"]["containers"] == [{"name": "flow", "image": "scheduler:1"}]
    assert len(template.warnings) == 2
    assert template.warnings[1].endswith("the Job's command (/bin/sh …) is replaced by dask scheduler")


def test_address_and_name_that_the_run_decides_are_left_out():
    template = parse(worker(args=["dask-worker", "tcp://dask-scheduler:8786", "--name", "mine", "--nprocs", "2"]))

    assert template.pod["spec"]["containers"][0]["args"] == ["dask", "worker", "--nworkers", "2"]
    assert template.processes == 2
    assert "tcp://dask-scheduler:8786 is left out" in template.warnings[2]
    assert "--name mine is left out" in template.warnings[3]


@pytest.mark.parametrize(
    ("args", "processes"),
    [(["--nworkers", "3"], 3), (["--nprocs=2"], 2), (["--nthreads", "4"], 1)],
)
def test_processes_of_a_worker_pod(args, processes):
    assert parse(worker(args=["dask", "worker", *args])).processes == processes


def test_spec_is_a_template(tmp_path):
    text = (
        "spec: {containers: [{image: '{{ image }}', env: [{name: A, value: '{{ params.n }} {{ run }} {{ flow }}'}]}]}"
    )

    container = read(tmp_path, text).worker.pod["spec"]["containers"][0]

    assert container["image"] == "example.org/flow:1"
    assert container["env"] == [{"name": "A", "value": "7 nightly sums"}]


def test_marks_of_a_template_can_be_written_as_text(tmp_path):
    text = "metadata: {annotations: {a: \"{{ '{%' }} ${{ '{#' }}X}\"}}"

    assert read(tmp_path, text).worker.pod["metadata"]["annotations"] == {"a": "{% ${#X}"}


def test_problems_of_both_files_are_reported_at_once(tmp_path):
    scheduler = tmp_path / "scheduler_spec.yaml"
    scheduler.write_text("spec:\n  containers:\n    - imag: x\n")

    with pytest.raises(InputError) as caught:
        read(tmp_path, "spec:\n  restartpolicy: Never\n  nodeName: 1\n", scheduler="pod", scheduler_spec=scheduler)

    places = [line.partition(" ")[0].rpartition("/")[2] for line in str(caught.value).splitlines()]
    assert places == ["worker_spec.yaml:2:", "worker_spec.yaml:3:", "scheduler_spec.yaml:3:"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("{# two\nlines #}spec:\n  nodeName: 1\n", ": line 2 of the rendered spec: "),
        (
            "spec:\n{% if params.n == 8 %}\n  hostname: a\n{% endif %}\n  nodeName: 1\n",
            ": line 3 of the rendered spec: ",
        ),
        ("{% if params.n == 8 %}\na\n{% endif %}\n\tspec: 1", ": line 2 of the rendered spec: "),
        ("spec:\n{% if params.n == 7 %}\n{% endif %}\n  nodeName: 1\n", ":4: "),
        ("{% if params.n == 8 %}\na\n{% endif %}\nb: '{{ nothing }}'", ":4: "),
    ],
)
def test_line_is_said_to_be_of_the_rendered_spec_if_it_may_not_be_the_files(tmp_path, text, place):
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)

    assert str(caught.value).startswith(f"{tmp_path / 'worker_spec.yaml'}{place}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "kind: Deployment\nspec: {}",
            "worker_spec.yaml:1: kind is 'Deployment'; a worker spec must be a Pod manifest",
        ),
        ("kind: pod\nspec: {}", "worker_spec.yaml:1: kind is 'pod'; did you mean 'Pod'?"),
        (
            "a: '}}'\nb: {{ 1 }",
            "worker_spec.yaml:2: unexpected '}'; a spec is a Jinja2 template: write",
        ),
        ("a: b\nkind: Job", "worker_spec.yaml:2: kind is 'Job'; a worker spec must be a Pod manifest"),
        (
            "a: '{{ nothing }}'",
            "worker_spec.yaml:1: 'nothing' is undefined; a spec is a Jinja2 template with the variables image, ",
        ),
        ("a: b\nc: '{{ params.m }}'", "worker_spec.yaml:2: params has no 'm'; give --param m=VALUE"),
        ("a: '{{ params[\"m\"] }}'", "worker_spec.yaml:1: params has no 'm'; give --param m=VALUE"),
        ("a: '{{ params.m.k }}'", "worker_spec.yaml:1: params has no 'm'; give --param m=VALUE"),
        ("a: '{{ params.of.k }}'", "worker_spec.yaml:1: 'dict object' has no attribute 'k'; a spec is a Jinja2"),
        ("a: '{{ env.HERE }}'", "worker_spec.yaml:1: env has no 'HERE'; set it in the runner's environment"),
        ("a: b\nc: '{% if %}'", "worker_spec.yaml:2: Expected an expression"),
        ("a: '${#X}'", f"worker_spec.yaml:1: Missing end of comment tag; {AS_TEXT}"),
        ("a: 100{%", f"worker_spec.yaml:1: tag name expected; {AS_TEXT}"),
        ("a: b\nc: '{{ 1 / 0 }}'", "worker_spec.yaml:2: division by zero"),
        (
            "spec:\n\tcontainers: []",
            "worker_spec.yaml:2: not YAML: found character '\\t' that cannot start any token; indent",
        ),
        (
            "spec: {containers: [{args: [dask, worker, --nprocs=2, --no-nanny]}]}",
            "has --nworkers 2, which needs nannies",
        ),
        (
            "spec:\n  containers:\n    - {name: log}\n    - name: worker\n      args: [dask, worker, --nworkers, auto]",
            "worker_spec.yaml:5: spec.containers[1].args has --nworkers auto: give a number",
        ),
        (
            "spec: {containers: [{command: [sh, -c, /start.sh]}]}",
            "worker_spec.yaml:1: spec.containers[0].command gives a shell's -c text, to which the worker's options",
        ),
        (
            "spec: {containers: [{command: [/bin/bash, -c], args: [/start.sh]}]}",
            "spec.containers[0].args gives a shell's -c text",
        ),
    ],
)
def test_bad_specs_are_refused_with_file_and_line(tmp_path, text, message):
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)

    assert message in str(caught.value)


def test_command_lines_problems_come_with_those_of_the_schema(tmp_path):
    text = "spec:\n  restartpolicy: Never\n  containers:\n    - args: [dask, worker, --nworkers, x]\n      imag: y\n"

    with pytest.raises(InputError) as caught:
        read(tmp_path, text)

    lines = [line.partition(" ")[0].rpartition("/")[2] for line in str(caught.value).splitlines()]
    assert lines == ["worker_spec.yaml:2:", "worker_spec.yaml:4:", "worker_spec.yaml:5:"]


def test_unreadable_spec_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"cannot read the spec .*none.yaml: No such file"):
        read_templates(RunSettings(target="f", worker_spec=tmp_path / "none.yaml"), VARIABLES)
