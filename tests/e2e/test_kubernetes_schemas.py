"""The schemas that the chart's tests validate by are what an API server publishes."""

import json

import kubernetes_schemas
from namespaces import OWN_NODE, ROOT, run
from pod_schema import definitions


@OWN_NODE
def test_schemas_of_the_charts_kinds_are_those_of_the_api_server():
    version = json.loads(run("kubectl", "get", "--raw", "/version").stdout)
    minor = f"{version['major']}.{version['minor']}"
    paths = ["/openapi/v3/" + name.replace("__", "/") for name in kubernetes_schemas.DOCUMENTS]
    published = [json.loads(run("kubectl", "get", "--raw", path).stdout) for path in paths]
    committed = json.loads((ROOT / "tests/chart/kubernetes_schemas.json").read_text())

    expected = {name: schema for name, groups in committed.items() for versions, schema in groups if minor in versions}

    assert definitions(published, kubernetes_schemas.ROOTS) == expected != {}, "run `make schema`"
