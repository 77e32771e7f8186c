"""What Argo Workflows' controller says of the WorkflowTemplate, by its own code."""

import pytest
from rendering import argo
from test_workflow import FLOW, template


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"flow": FLOW},
        {"run": {"ttlSecondsAfterFinished": 60, "queueName": "team", "suspend": True}},
        {"static": {"enabled": True}},
        {"runner": {"podSpec": {"tolerations": [{"operator": "Exists"}]}}},
    ],
)
def test_argo_accepts_the_template(chart, values):
    done = argo(template(chart, **values), "validate")

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("onExit",), "raison", "template name 'raison' undefined"),
        (("entrypoints",), "run", 'unknown field "entrypoints"'),
        (("templates", 0, "resource", "manifest"), "name: '{{workflow.id}}'", "failed to resolve {{workflow.id}}"),
        (("templates", 0, "resource", "action"), "make", "templates.run.resource.action must be one of: get, create"),
    ],
)
def test_argo_refuses_a_template_with_a_mistake(chart, path, value, message):
    made = template(chart)
    *parents, key = path
    node = made["spec"]
    for each in parents:
        node = node[each]
    node[key] = value

    done = argo(made, "validate")

    assert done.returncode == 1
    assert message in done.stderr
