"""The Argo WorkflowTemplate of run.mode workflow, and the Job that it makes."""

import json
import re
import shlex

import pytest
import yaml
from dask_flow.params import parse_params
from rendering import env, expanded, workflow_job

FLOW = {"files": {"flow.py": "def main(**params): return params\n"}}
PARAMS = {"days": 7, "text": "007", "a-b": {"c": [1, None]}}
NASTY = "x\"\n- injected: {true} '#\\ $$ $(HOME)"


def template(chart, **values):
    run = {"mode": "workflow", **values.pop("run", {})}
    return chart.only("WorkflowTemplate", **{"flow": {**FLOW, "params": PARAMS}, **values}, run=run)


def given_params(job):
    args = [expanded(each, HOME="/") for each in job["spec"]["template"]["spec"]["containers"][0]["args"]]
    assert args[:2] == ["run", "/etc/dask-flow/flow/flow.py"]
    assert args[2::2] == ["--param"] * (len(args) // 2 - 1)
    return parse_params(None, args[3::2])


def test_parameters_of_the_flow_are_the_workflows_with_their_values(chart):
    spec = template(chart)["spec"]
    parameters = {each["name"]: each["value"] for each in spec["arguments"]["parameters"]}

    assert {name: yaml.safe_load(value) for name, value in parameters.items()} == PARAMS
    assert spec["templates"][0]["inputs"] == spec["arguments"]
    assert given_params(workflow_job(template(chart))) == PARAMS


def test_no_value_of_a_parameter_breaks_out_of_its_place(chart):
    job = workflow_job(template(chart), text=json.dumps(NASTY))

    assert given_params(job)["text"] == NASTY


def test_workflow_needs_no_parameters(chart):
    spec = template(chart, flow=FLOW)["spec"]

    assert spec["arguments"] == spec["templates"][0]["inputs"] == {"parameters": []}


def test_job_is_that_of_the_other_modes_but_for_its_parameters_and_its_end(chart):
    run = {"ttlSecondsAfterFinished": 60, "activeDeadlineSeconds": 600, "queueName": "team"}
    made = template(chart, run=run)
    job = workflow_job(made, name="nightly-x7k2p")
    other = chart.only("Job", flow={**FLOW, "params": PARAMS}, run={**run, "mode": "job"})
    runner, others = (each["spec"]["template"]["spec"]["containers"][0] for each in (job, other))

    assert (job["metadata"]["name"], job["metadata"]["namespace"]) == ("nightly-x7k2p", "ns")
    assert job["metadata"]["labels"] == other["metadata"]["labels"]
    assert env(other["spec"]["template"]["spec"]).keys() - env(job["spec"]["template"]["spec"]).keys() == {
        "DASK_FLOW_PARAMS"
    }
    runner["args"], runner["env"] = others["args"], others["env"]
    assert job["spec"] == {key: value for key, value in other["spec"].items() if key != "ttlSecondsAfterFinished"}
    assert made["spec"]["ttlStrategy"] == {"secondsAfterCompletion": 60}


@pytest.mark.parametrize(("seconds", "strategy"), [(0, 0), (1_209_600, 1_209_600), (None, None)])
def test_workflow_goes_when_the_values_say(chart, seconds, strategy):
    found = template(chart, run={"ttlSecondsAfterFinished": seconds})["spec"].get("ttlStrategy", {})

    assert repr(found.get("secondsAfterCompletion")) == repr(strategy)


def test_argo_may_do_what_it_needs_and_no_more(chart):
    values = {"flow": FLOW, "run": {"mode": "workflow"}}
    role = chart.of_kind("Role", **values)["r-dask-flow-workflow"]
    binding = chart.of_kind("RoleBinding", **values)["r-dask-flow-workflow"]
    accounts = chart.of_kind("ServiceAccount", **values)

    assert [(rule["resources"], rule["verbs"]) for rule in role["rules"]] == [
        (["jobs"], ["create", "get"]),
        (["workflowtaskresults"], ["create", "patch"]),
    ]
    assert binding["subjects"][0]["name"] == template(chart)["spec"]["serviceAccountName"] == "r-dask-flow-workflow"
    assert set(accounts) == {"r-dask-flow", "r-dask-flow-workflow"}
    assert not chart.of_kind("Role", **values, rbac={"create": False})


def test_given_service_account_is_the_workflows_too(chart):
    spec = template(chart, serviceAccount={"create": False, "name": "mine"})["spec"]

    assert spec["serviceAccountName"] == "mine"


@pytest.mark.parametrize("name", ["a b", "a'", "a.b"])
def test_parameters_that_argo_cannot_name_are_refused(chart, name):
    message = chart.error(flow={**FLOW, "params": {name: 1}}, run={"mode": "workflow"})

    assert re.search(r"flow.params has .*, but Argo's parameters", message)


def test_notes_start_the_workflow_of_this_release(chart):
    notes = chart.notes(flow=FLOW, run={"mode": "workflow"})
    words = shlex.split(next(line for line in notes.splitlines() if "echo" in line))
    workflow = json.loads(words[1])

    assert workflow["kind"] == "Workflow"
    assert workflow["spec"]["workflowTemplateRef"]["name"] == template(chart)["metadata"]["name"]
