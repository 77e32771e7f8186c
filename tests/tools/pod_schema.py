"""Print the JSON Schema of a Pod and a Job, from what a Kubernetes API server publishes. Usage: pod_schema.py >FILE.

`kubectl` must reach a server. Beyond what it publishes are the forms of names, ports, quantities and images, and the
bounds of numbers, from its docs:
https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/
https://pkg.go.dev/github.com/distribution/reference
"""

import json
import subprocess
import sys

DOCUMENTS = ("/openapi/v3/api/v1", "/openapi/v3/apis/batch/v1")
ROOTS = ("io.k8s.api.core.v1.Pod", "io.k8s.api.batch.v1.Job")
KEPT = ("type", "required", "enum")
MAP_KEYS = "x-kubernetes-list-map-keys"
# The server takes these twice: it warns, or the last one wins.
MAY_REPEAT = ("env", "ports", "imagePullSecrets", "hostAliases", "ownerReferences")
INTEGERS = {"int32": 2**31, "int64": 2**63}

# Python's $ also matches before a last line break.
END = r"$(?!\n)"
LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN = rf"{LABEL}(\.{LABEL})*"
NAME = "[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"
PORT_NAME = rf"^(?=.{{1,15}}$)(?!.*--)(?=.*[a-z]){LABEL}{END}"
KEY = (
    "1 to 63 of A-Z, a-z, 0-9, '-', '_' and '.', with a letter or digit at both ends, "
    "and a domain and '/' before it or not"
)
PORT = {"minimum": 1, "maximum": 65535}
MAX_INT32 = 2**31 - 1
ID = {"minimum": 0, "maximum": MAX_INT32}
AT_LEAST_ONE = {"minimum": 1, "maximum": MAX_INT32}
WEIGHT = {"minimum": 1, "maximum": 100}
MODE = {"minimum": 0, "maximum": 0o777}
HOST = (
    r"([A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*|\[[A-Fa-f0-9:]+\])(:[0-9]+)?"
)
PART = "[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*"


def form(description, pattern, **more):
    return {"type": "string", "description": description, "pattern": pattern, **more}


FORMS = {
    "Quantity": form(
        "a quantity",
        rf"^\+?([0-9]+\.?[0-9]*|\.[0-9]+)([numk]|[KMGTPE]i|[MGTPE]|[eE][-+]?[0-9]{{1,3}})?{END}",
        type=["string", "number"],
        minimum=0,
        title="Quantity",
    ),
    "IntOrString": {"type": ["integer", "string"]},
    "Time": {"type": "string"},
    "FieldsV1": {"type": "object"},
    "Label": form("1 to 63 of a-z, 0-9 and '-', with no '-' at an end", f"^(?=.{{1,63}}$){LABEL}{END}"),
    "Subdomain": form(
        "1 to 253 of a-z, 0-9, '-' and '.', with a letter or digit at both ends", f"^(?=.{{1,253}}$){SUBDOMAIN}{END}"
    ),
    "LabelKey": form(
        KEY,
        rf"^((?=[^/]{{1,253}}/){SUBDOMAIN}/)?(?=[^/]{{1,63}}$){NAME}{END}",
    ),
    "AnnotationKey": form(
        KEY,
        rf"^(?=[^/]{{1,253}}/|[^/]+$)({NAME}/)?(?=[^/]{{1,63}}$){NAME}{END}",
    ),
    "LabelValue": form(
        "at most 63 of A-Z, a-z, 0-9, '-', '_' and '.', with a letter or digit at both ends",
        f"^(?=.{{0,63}}$)({NAME})?{END}",
    ),
    "DataKey": form("1 to 253 of A-Z, a-z, 0-9, '-', '_' and '.'", rf"^[-._A-Za-z0-9]{{1,253}}{END}"),
    "EnvName": form("printable ASCII characters other than '='", f"^[ -<>-~]+{END}"),
    "PortName": form("1 to 15 of a-z, 0-9 and '-', with a letter, and no '-' at an end or twice", PORT_NAME),
    "Port": {
        **form("a port from 1 to 65535, or the name of one", PORT_NAME),
        "type": ["integer", "string"],
        **PORT,
    },
    "ResourceName": form(
        "cpu, memory, ephemeral-storage, hugepages-SIZE or a name with a domain, such as nvidia.com/gpu",
        rf"^(cpu|memory|ephemeral-storage|hugepages-.+|[^/]+/[^/]+){END}",
        examples=["cpu", "memory", "ephemeral-storage", "nvidia.com/gpu"],
    ),
    "Image": form(
        "an image name such as registry.example.org/team/dask:1",
        rf"^({HOST}/)?{PART}(/{PART})*(:[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(@[a-z0-9+._-]+:[a-f0-9]{{32,}})?{END}",
        examples=[],
    ),
    "NotEmpty": form("a text that is not empty", "^.", examples=[]),
    "RelativePath": form("a path that begins with no / and has no '..'", r"^(?!/)(?!(.*/)?\.\.(/|$))", examples=[]),
    "FieldPath": form(
        "a field of the pod, such as metadata.name or status.podIP",
        rf"^(metadata\.(name|namespace|uid|labels|annotations|(labels|annotations)\['[^']+'\])|spec\.(nodeName|"
        rf"serviceAccountName)|status\.(hostIPs?|podIPs?)){END}",
        examples=["metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "status.podIP"],
    ),
    "ContainerResource": form(
        "limits. or requests. and cpu, memory, ephemeral-storage or hugepages-SIZE",
        rf"^(limits|requests)\.(cpu|memory|ephemeral-storage|hugepages-.+){END}",
        examples=["limits.cpu", "limits.memory", "requests.cpu", "requests.memory"],
    ),
}
LABELS = {"propertyNames": {"$ref": "#/$defs/LabelKey"}, "additionalProperties": {"$ref": "#/$defs/LabelValue"}}
RESOURCES = {"propertyNames": {"$ref": "#/$defs/ResourceName"}}
FORM_OF = {
    "Container.image": "Image",
    "EphemeralContainer.image": "Image",
    "PodSpec.nodeName": "Subdomain",
    "Toleration.value": "LabelValue",
    "PodAffinityTerm.topologyKey": "LabelKey",
    "LabelSelectorRequirement.key": "LabelKey",
    "NodeSelectorRequirement.key": "LabelKey",
    "HostPathVolumeSource.path": "NotEmpty",
    "PersistentVolumeClaimVolumeSource.claimName": "NotEmpty",
    "VolumeMount.mountPath": "NotEmpty",
    "VolumeMount.subPath": "RelativePath",
    "KeyToPath.path": "RelativePath",
    "ObjectFieldSelector.fieldPath": "FieldPath",
    "ResourceFieldSelector.resource": "ContainerResource",
    "Container.name": "Label",
    "EphemeralContainer.name": "Label",
    "Volume.name": "Label",
    "PodResourceClaim.name": "Label",
    "PodSpec.hostname": "Label",
    "PodSpec.subdomain": "Label",
    "PodSpec.serviceAccountName": "Subdomain",
    "ObjectMeta.name": "Subdomain",
    "ContainerPort.name": "PortName",
    "EnvVar.name": "EnvName",
    "ConfigMapEnvSource.name": "Subdomain",
    "ConfigMapKeySelector.key": "DataKey",
    "ConfigMapKeySelector.name": "Subdomain",
    "SecretEnvSource.name": "Subdomain",
    "SecretKeySelector.key": "DataKey",
    "SecretKeySelector.name": "Subdomain",
    "HTTPGetAction.port": "Port",
    "TCPSocketAction.port": "Port",
}
# The server asks for these, though what it publishes does not.
REQUIRED = {
    "ConfigMapEnvSource": "name",
    "ConfigMapKeySelector": "name",
    "ConfigMapProjection": "name",
    "ConfigMapVolumeSource": "name",
    "ExecAction": "command",
    "Job": "spec",
    "SecretEnvSource": "name",
    "SecretKeySelector": "name",
    "SecretProjection": "name",
    "SecretVolumeSource": "secretName",
}
BOUNDS = {
    "Container.restartPolicy": {"enum": ["Always", "Never", "OnFailure"]},
    "ContainerPort.containerPort": PORT,
    "ContainerPort.hostPort": {**PORT, "minimum": 0},
    "GRPCAction.port": PORT,
    "ObjectMeta.labels": LABELS,
    "LabelSelector.matchLabels": LABELS,
    "PodSpec.nodeSelector": LABELS,
    "ObjectMeta.annotations": {"propertyNames": {"$ref": "#/$defs/AnnotationKey"}},
    "ResourceRequirements.limits": RESOURCES,
    "ResourceRequirements.requests": RESOURCES,
    "Container.ports": {MAP_KEYS: ["name"]},
    "ContainerResizePolicy.restartPolicy": {"enum": ["NotRequired", "RestartContainer"]},
    "PodSpec.activeDeadlineSeconds": AT_LEAST_ONE,
    "PodSecurityContext.supplementalGroups": {"items": {"type": "integer", **ID}},
    "SleepAction.seconds": ID,
    "TopologySpreadConstraint.maxSkew": AT_LEAST_ONE,
    "TopologySpreadConstraint.minDomains": AT_LEAST_ONE,
    "PreferredSchedulingTerm.weight": WEIGHT,
    "WeightedPodAffinityTerm.weight": WEIGHT,
    "Probe.terminationGracePeriodSeconds": AT_LEAST_ONE,
    **{f"PodSecurityContext.{key}": ID for key in ("runAsUser", "runAsGroup", "fsGroup")},
    **{f"SecurityContext.{key}": ID for key in ("runAsUser", "runAsGroup")},
    **{f"Probe.{key}Seconds": ID for key in ("initialDelay", "timeout", "period")},
    **{f"Probe.{key}Threshold": ID for key in ("success", "failure")},
    **{f"{kind}VolumeSource.defaultMode": MODE for kind in ("ConfigMap", "Secret", "DownwardAPI", "Projected")},
    **{f"{kind}.mode": MODE for kind in ("KeyToPath", "DownwardAPIVolumeFile")},
}


def short(name):
    return name.rsplit(".", 1)[-1]


def reduced(schema, name=""):
    """Return what a check needs of one schema; `name` is where it is, such as Container.name."""
    if "allOf" in schema:
        return reduced(schema["allOf"][0], name)
    if "$ref" in schema:
        return {"$ref": f"#/$defs/{FORM_OF.get(name) or short(schema['$ref'])}"}
    if name in FORM_OF:
        return {"$ref": f"#/$defs/{FORM_OF[name]}"}
    made = {key: schema[key] for key in KEPT if key in schema}
    if MAP_KEYS in schema and name.rsplit(".", 1)[-1] not in MAY_REPEAT:
        made[MAP_KEYS] = schema[MAP_KEYS]
    if schema.get("format") in INTEGERS:
        limit = INTEGERS[schema["format"]]
        made |= {"minimum": -limit, "maximum": limit - 1}
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            made[key] = reduced(schema[key])
    return made | BOUNDS.get(name, {})


def definition(name, schema, roots=ROOTS):
    """Return the reduced definition of a kind: its fields, and no others."""
    title = short(name)
    properties = {key: reduced(value, f"{title}.{key}") for key, value in schema["properties"].items()}
    if name in roots:
        kind = schema["x-kubernetes-group-version-kind"][0]
        properties["apiVersion"]["enum"] = ["/".join(filter(None, (kind["group"], kind["version"])))]
        properties["kind"]["enum"] = [kind["kind"]]
        properties["status"] = {"type": "object"}  # `kubectl --dry-run -o yaml` prints one, and the server ignores it
    if title in REQUIRED:
        schema = {**schema, "required": [*schema.get("required", []), REQUIRED[title]]}
    return {"title": title, **reduced(schema), "properties": properties, "additionalProperties": False}


def references(schema):
    """Return the names of the definitions that a schema refers to."""
    if isinstance(schema, list):
        return {name for each in schema for name in references(each)}
    if not isinstance(schema, dict):
        return set()
    own = {schema["$ref"].rsplit("/", 1)[-1]} if "$ref" in schema else set()
    return own | references(list(schema.values()))


def definitions(documents, roots=ROOTS):
    """Return the reduced definitions, by name, of what the roots reach in the OpenAPI documents."""
    published = {name: each for document in documents for name, each in document["components"]["schemas"].items()}
    names = {short(name): name for name in [*published, *roots]}
    made, wanted = {}, {short(root) for root in roots}
    while missing := wanted - made.keys():
        for title in missing:
            made[title] = FORMS.get(title) or definition(names[title], published[names[title]], roots)
        wanted |= references(list(made.values()))
    return dict(sorted(made.items()))


def pod_schema(documents, version):
    """Return the JSON Schema of a Pod and a Job."""
    return {
        "$comment": f"Kubernetes {version}; renewed by tests/tools/pod_schema.py",
        "$defs": definitions(documents),
    }


def lines(schema):
    """Return the JSON text, a definition a line."""
    definitions = [f"{json.dumps(name)}: {json.dumps(each)}" for name, each in schema["$defs"].items()]
    return f'{{"$comment": {json.dumps(schema["$comment"])},\n"$defs": {{\n' + ",\n".join(definitions) + "\n}}\n"


def read(path):
    """Read one document of the API server."""
    return json.loads(subprocess.run(["kubectl", "get", "--raw", path], check=True, capture_output=True).stdout)


if __name__ == "__main__":
    version = read("/version")["gitVersion"]
    sys.stdout.write(lines(pod_schema([read(path) for path in DOCUMENTS], version)))
