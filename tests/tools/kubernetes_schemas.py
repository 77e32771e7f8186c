"""Print the JSON Schemas of the chart's kinds in each version of Kubernetes. Usage: kubernetes_schemas.py >FILE.

They are what the API servers publish (`/openapi/v3`), from the Go module k8s.io/kubernetes of each version, reduced as
that of pods is. The module's documents leave out the values of enumerations, which its code has. A definition that is
the same in several versions is written once, with the versions that have it.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

from pod_schema import definitions

VERSIONS = ("v1.32.13", "v1.33.13", "v1.34.4", "v1.35.4", "v1.36.3")
DOCUMENTS = ("api__v1", "apis__apps__v1", "apis__batch__v1", "apis__networking.k8s.io__v1", "apis__policy__v1")
DOCUMENTS += ("apis__rbac.authorization.k8s.io__v1",)
ROOTS = (
    "io.k8s.api.apps.v1.Deployment",
    "io.k8s.api.batch.v1.CronJob",
    "io.k8s.api.batch.v1.Job",
    "io.k8s.api.core.v1.ConfigMap",
    "io.k8s.api.core.v1.PersistentVolumeClaim",
    "io.k8s.api.core.v1.Pod",
    "io.k8s.api.core.v1.Secret",
    "io.k8s.api.core.v1.Service",
    "io.k8s.api.core.v1.ServiceAccount",
    "io.k8s.api.networking.v1.Ingress",
    "io.k8s.api.networking.v1.NetworkPolicy",
    "io.k8s.api.policy.v1.PodDisruptionBudget",
    "io.k8s.api.rbac.v1.ClusterRole",
    "io.k8s.api.rbac.v1.ClusterRoleBinding",
    "io.k8s.api.rbac.v1.Role",
    "io.k8s.api.rbac.v1.RoleBinding",
)


ENUMERATIONS = "pkg/generated/openapi/zz_generated.openapi.go"
# A definition begins, one of its fields does, the values of the field.
LINE = re.compile(
    r'^(?:func (\w+)\(.*|\t{5}"(\w+)": \{|\t+Enum: +\[\]interface\{\}\{(.*)\},)$',
    re.MULTILINE,
)
DEFINITION = re.compile(r"schema_k8sio_api_(\w+?)_v1_(\w+)")


def published(version):
    """Return the OpenAPI documents of a version."""
    command = ["go", "mod", "download", "-json", f"k8s.io/kubernetes@{version}"]
    module = Path(json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["Dir"])
    documents = [json.loads((module / f"api/openapi-spec/v3/{name}_openapi.json").read_text()) for name in DOCUMENTS]
    for name, field, values in enumerations((module / ENUMERATIONS).read_text()):
        for schemas in (document["components"]["schemas"] for document in documents):
            if name in schemas:
                schema = schemas[name]["properties"][field]
                schema.get("items", schema)["enum"] = values
    return documents


def enumerations(code):
    """Yield definitions' names, fields and the values that these may have, from the code of Kubernetes."""
    name = field = ""
    for function, begun, values in LINE.findall(code):
        name = DEFINITION.sub(r"io.k8s.api.\1.v1.\2", function) or name
        field = begun or field
        if values:
            yield name, field, json.loads(f"[{values}]")


def variants(by_version):
    """Return the definitions by name, each as a list of pairs: the versions, and the schema that they have."""
    names = sorted({name for each in by_version.values() for name in each})
    return {name: grouped({version: each.get(name) for version, each in by_version.items()}) for name in names}


def grouped(schemas):
    groups = []
    for version, schema in schemas.items():
        if groups and groups[-1][1] == schema:
            groups[-1][0].append(version)
        elif schema is not None:
            groups.append([[version], schema])
    return groups


if __name__ == "__main__":
    found = variants({version.rpartition(".")[0][1:]: definitions(published(version), ROOTS) for version in VERSIONS})
    rows = [f"{json.dumps(name)}: {json.dumps(groups)}" for name, groups in found.items()]
    sys.stdout.write("{\n" + ",\n".join(rows) + "\n}\n")
