"""Checks of a Pod or Job manifest without a cluster, by the schema that Kubernetes publishes (`pod_schema.json`)."""

from __future__ import annotations

import functools
import importlib.resources
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from dask_flow.settings import MAX_WORKERS
from dask_flow.text import one_line
from dask_flow.wording import (
    article,
    conversion,
    enumeration,
    kind_of,
    maybe,
    near,
    quantity,
    quantity_advice,
    said,
    same,
)
from dask_flow.yaml_lines import Document, Path, load

__all__ = ["Document", "load", "problems"]

Found = Iterator[tuple[Path, str]]  # a key, and what is wrong with it

FIELDS_SHOWN = 10
# Of the fields that are often put at another level: where they are.
LEVELS = {
    "ObjectMeta": "metadata",
    "PodSpec": "spec",
    "Container": "spec.containers[0]",
    "SecurityContext": "spec.containers[0].securityContext",
    "PodSecurityContext": "spec.securityContext",
    "ResourceRequirements": "spec.containers[0].resources",
}
# Of these fields there can be one; if none are named here, of all but the name.
ONE_OF: dict[str, set[str]] = {
    "EnvVar": {"value", "valueFrom"},
    "EnvVarSource": set(),
    "EnvFromSource": {"configMapRef", "secretRef"},
    "LifecycleHandler": set(),
    "Probe": {"exec", "grpc", "httpGet", "tcpSocket"},
    "Volume": set(),
    "VolumeProjection": set(),
}
# Fields of one mapping that the API server refuses together.
Disagreements = list[tuple[Callable[[dict[str, Any]], bool], str]]
SELECTION: Disagreements = [
    (
        lambda it: it.get("operator") in {"In", "NotIn"} and not it.get("values"),
        "is not complete; In and NotIn need values",
    ),
    (
        lambda it: it.get("operator") in {"Exists", "DoesNotExist"} and bool(it.get("values")),
        "has both values and the operator Exists or DoesNotExist; leave out values",
    ),
    (
        lambda it: it.get("operator") in {"Gt", "Lt"} and len(it.get("values") or ()) != 1,
        "is not complete; Gt and Lt need values with one number",
    ),
]
DISAGREEMENTS: dict[str, Disagreements] = {
    "LabelSelectorRequirement": SELECTION,
    "NodeSelectorRequirement": SELECTION,
    "SeccompProfile": [
        (
            lambda it: (it.get("type") == "Localhost") != bool(it.get("localhostProfile")),
            "must have localhostProfile if its type is Localhost, and only then",
        )
    ],
    "Toleration": [
        (
            lambda it: it.get("operator") == "Exists" and bool(it.get("value")),
            "has both a value and the operator Exists; leave out one of them",
        ),
        (
            lambda it: not it.get("key") and it.get("operator") != "Exists",
            "has no key; then its operator must be Exists, which tolerates every taint",
        ),
        (
            lambda it: "tolerationSeconds" in it and it.get("effect") != "NoExecute",
            "has tolerationSeconds, for which its effect must be NoExecute",
        ),
    ],
}
MAY_HAVE_NONE = {"EnvVar", "Volume", "VolumeProjection"}


def problems(document: Document, name: str, kind: str, more: Iterable[tuple[Path, str]] = ()) -> list[str]:
    """Return all that Kubernetes would refuse in a `Pod` or `Job`, a sentence each, by line, and what `more` found.

    What the runner fills in may lack: the containers, the first one's name, images. A Pod may have `spec.replicas`.
    """
    of_schema = (
        each
        for error in _validator(kind).iter_errors(document.data)
        for each in CHECKS[error.validator](error, tuple(error.absolute_path), document, kind)
    )
    found = {(document.line(path), _key(path), message) for path, message in chain(of_schema, more)}
    return [one_line(f"{name}:{line}: {key} {message}") for line, key, message in sorted(found)]


def _key(path: Path) -> str:
    """Return a key as Kubernetes writes it: spec.containers[0].name, metadata.labels[example.org/a]."""
    parts = [f".{part}" if re.fullmatch(r"[A-Za-z]\w*", str(part)) else f"[{part}]" for part in path]
    return "".join(parts).removeprefix(".") or "the manifest"


@functools.cache
def _definitions() -> dict[str, Any]:
    text = importlib.resources.files("dask_flow").joinpath("pod_schema.json").read_text()
    definitions: dict[str, Any] = json.loads(text)["$defs"]
    return definitions


def _definition(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {**schema, **_definitions().get(schema.get("$ref", "").rpartition("/")[2], {})}


@functools.cache
def _validator(kind: str) -> Any:
    from jsonschema import Draft202012Validator, ValidationError, validators

    def noticed(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        yield ValidationError("to be looked at, by CHECKS")

    # To Kubernetes, 1.0 is no integer and infinity no number.
    types = Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "integer": lambda _, value: type(value) is int,
            "number": lambda _, value: type(value) is int or (type(value) is float and math.isfinite(value)),
        }
    )
    rules = {"title": noticed, "x-kubernetes-list-map-keys": noticed}
    extended: Any = validators.extend(Draft202012Validator, rules, type_checker=types)  # type: ignore[no-untyped-call]
    return extended({"$ref": f"#/$defs/{kind}", "$defs": _definitions()})


def _unknown(error: Any, path: Path, document: Document, kind: str) -> Found:
    for key, value in error.instance.items():
        if key in error.schema["properties"]:
            continue
        if (kind, path, key) != ("Pod", ("spec",), "replicas"):
            advice = _right_place(key, path, error.schema, kind)
            yield (*path, key), f"is not a field of {article(error.schema['title'])}{advice}"
        elif type(value) is not int or not 1 <= value <= MAX_WORKERS:
            text = said(value, document.texts.get((*path, key)))
            yield (*path, key), f"must be a whole number from 1 to {MAX_WORKERS}, not {text}"


def _right_place(key: str, path: Path, schema: Mapping[str, Any], kind: str) -> str:
    fields = schema["properties"]
    if spelled := same(key, fields):
        return f"; did you mean '{spelled}'?"
    below = [field for field, each in fields.items() if key in _definition(each).get("properties", {})]
    if len(below) == 1:
        return f"; it is one of the {_definition(fields[below[0]])['title']} ({_key((*path, below[0], key))})"
    levels = LEVELS
    if kind == "Job":
        levels = {"JobSpec": "spec", **{title: f"spec.template.{place}" for title, place in LEVELS.items()}}
    for title, place in levels.items():
        if key in _definitions()[title]["properties"]:
            return f"; it is one of the {title} ({place}.{key})"
    if guess := near(key, fields):
        return f"; did you mean '{guess}'?"
    return f"; its fields are {enumeration(fields, 'and')}" if len(fields) <= FIELDS_SHOWN else "; leave it out"


def _wrong_type(error: Any, path: Path, document: Document, kind: str) -> Found:
    text, schema = document.texts.get(path), error.schema
    advice = conversion(error.instance, text, schema, _definition(schema.get("items", {})))
    yield path, f"must be {kind_of(schema)}, not {said(error.instance, text)}{advice}"


def _missing(error: Any, path: Path, document: Document, kind: str) -> Found:
    filled_in = {"containers"} | ({"name"} if path[-2:] == ("containers", 0) else set())
    for key in error.validator_value:
        if key not in error.instance and key not in filled_in:
            yield (*path, key), f"is missing; {article(error.schema['title'])} must have it"


def _not_of_the_enum(error: Any, path: Path, document: Document, kind: str) -> Found:
    words = [word for word in error.validator_value if word]
    if error.instance and isinstance(error.instance, str):  # to Kubernetes, the empty text is no value
        guess = maybe(near(error.instance, words))
        yield path, f"must be {enumeration(words, 'or')}, not {error.instance[:60]!r}{guess}"


def _bad_form(error: Any, path: Path, document: Document, kind: str) -> Found:
    schema, value = error.schema, error.instance
    if schema.get("title") == "Quantity":
        yield path, quantity_advice(value, path)
        return
    advice = maybe(near(value, schema.get("examples", ())))
    if variable := re.search(r"\$\{?([A-Za-z_]\w*)", value):
        advice = f"; Kubernetes replaces no variables there; use {{{{ env.{variable[1]} }}}} for one of the runner's"
    elif not advice and "=" not in value:
        spelled = [re.sub("[^A-Za-z0-9]+", "-", each)[:63].strip("-") for each in (value, value.lower())]
        guesses = [value.strip().lower()] if "examples" in schema else spelled
        advice = maybe(next((guess for guess in guesses if re.search(schema["pattern"], guess)), None))
    if "propertyNames" in error.absolute_schema_path:
        yield (*path, value), f"is not a valid key; it must be {schema['description']}{advice}"
    else:
        yield path, f"must be {schema['description']}, not {value[:80]!r}{advice}"


def _out_of_range(error: Any, path: Path, document: Document, kind: str) -> Found:
    schema = error.schema
    if schema.get("title") == "Quantity":
        yield path, quantity_advice(str(error.instance), path)
    else:
        yield path, f"must be from {schema['minimum']} to {schema['maximum']}, not {said(error.instance)}"


def _repeated(error: Any, path: Path, document: Document, kind: str) -> Found:
    first: dict[tuple[str, ...], int] = {}
    keys = error.validator_value
    for index, item in _mappings(error.instance):
        values = tuple(str(item.get(key)) for key in keys)
        if all(key in item for key in keys) and first.setdefault(values, index) != index:
            line = document.line((*path, first[values], keys[0]))
            yield (*path, index, keys[0]), f"is {values[0]!r}, as in line {line}; only one can have it"


def _relations(error: Any, path: Path, document: Document, kind: str) -> Found:
    title, instance = error.validator_value, error.instance
    if not isinstance(instance, dict):
        return
    if title in ONE_OF:
        yield from _not_one_of(title, instance, path, set(error.schema["properties"]))
    if title in {"ResourceRequirements", "VolumeResourceRequirements"}:
        yield from _requests_above_limits(instance, path)
    for is_wrong, message in DISAGREEMENTS.get(title, ()):
        if is_wrong(instance):
            yield path, message
    if title == "PodSpec":
        yield from _clashing_names(instance, path, document)
        yield from _mounts_of_nothing(instance, path)


def _not_one_of(title: str, instance: dict[str, Any], path: Path, fields: set[str]) -> Found:
    choices = ONE_OF[title] or fields - {"name"}
    given = [field for field in instance if field in choices]
    if len(given) > 1 and instance.get("value") != "":
        yield path, f"has {'both ' * (len(given) == 2)}{enumeration(given, 'and')}; keep one of them"  # noqa: PLR2004
    if not given and title not in MAY_HAVE_NONE and instance.keys() <= fields:
        yield path, f"is not complete; it must have one of {enumeration(sorted(choices), 'or')}"


def _requests_above_limits(resources: dict[str, Any], path: Path) -> Found:
    requests, limits = (
        {} if not isinstance(each := resources.get(key), dict) else each for key in ("requests", "limits")
    )
    for name, request in requests.items():
        wanted, limit = quantity(request), quantity(limits.get(name))
        if wanted is None or (limit is None and name in limits):
            continue
        place = (*path, "requests", name)
        # What cannot be overcommitted, such as a GPU: https://kubernetes.io/docs/tasks/configure-pod-container/extended-resource/
        if ("/" in name or name.startswith("hugepages-")) and wanted != limit:
            yield (
                place,
                f"({request}) must be as much as {_key(('limits', name))}; leave out the request, and set the limit",
            )
        elif limit is not None and wanted > limit:
            yield (
                place,
                f"({request}) is more than {_key(('limits', name))} ({limits[name]}); lower it, or raise the limit",
            )


def _containers(spec: dict[str, Any]) -> Iterator[tuple[Path, dict[str, Any]]]:
    for key in ("initContainers", "containers"):
        for index, container in _mappings(spec.get(key)):
            yield (key, index), container


def _clashing_names(spec: dict[str, Any], path: Path, document: Document) -> Found:
    first: dict[str, Path] = {}
    for place, container in _containers(spec):
        name = container.get("name")
        # Of one list, x-kubernetes-list-map-keys is the check.
        if isinstance(name, str) and first.setdefault(name, place)[0] != place[0]:
            line = document.line((*path, *first[name], "name"))
            yield (*path, *place, "name"), f"is {name!r}, as in line {line}; only one can have it"


def _mounts_of_nothing(spec: dict[str, Any], path: Path) -> Found:
    volumes = [volume["name"] for _, volume in _mappings(spec.get("volumes")) if isinstance(volume.get("name"), str)]
    for place, container in _containers(spec):
        for key in ("volumeMounts", "volumeDevices"):
            for index, mount in _mappings(container.get(key)):
                name = mount.get("name")
                if isinstance(name, str) and name not in volumes:
                    advice = maybe(near(name, volumes)) or "; add a volume of that name"
                    yield (
                        (*path, *place, key, index, "name"),
                        f"is {name!r}, which is not in {_key((*path, 'volumes'))}{advice}",
                    )


def _mappings(items: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """Return the mappings of a list, with their indexes; whatever else is there is another check's."""
    if isinstance(items, list):
        yield from ((index, item) for index, item in enumerate(items) if isinstance(item, dict))


CHECKS: dict[str, Callable[[Any, Path, Document, str], Found]] = {
    "additionalProperties": _unknown,
    "enum": _not_of_the_enum,
    "maximum": _out_of_range,
    "minimum": _out_of_range,
    "pattern": _bad_form,
    "required": _missing,
    "title": _relations,
    "type": _wrong_type,
    "x-kubernetes-list-map-keys": _repeated,
}
