"""Renew what values.schema.json repeats: each key's description, and which keys must not be taken away by null."""

import json
import re
from pathlib import Path

import yaml

CHART = Path(__file__).parents[2] / "charts/dask-flow"
ROW = re.compile(r"^\| (?P<key>\S+) \| \S+ \| .*? \| (?P<text>.*) \|$", re.MULTILINE)


def renewed(schema: dict, values: dict, descriptions: dict[str, str]) -> dict:
    """Return the schema with the README's descriptions, and with all keys required that may not be null."""
    schema["required"] = _renew(schema, schema, values, descriptions, "")
    return schema


def _renew(node: dict, schema: dict, values: dict, descriptions: dict[str, str], prefix: str) -> list[str]:
    for key, part in node["properties"].items():
        path = f"{prefix}{key}"
        if path in descriptions:
            part["description"] = descriptions[path]
        below = _resolved(part, schema)
        if "properties" in below and isinstance(values.get(key), dict):
            required = _renew(below, schema, values[key], descriptions, f"{path}.")
            # A group of workers has only what differs from static.worker, so that its definition cannot say it.
            (part["allOf"][-1] if "allOf" in part else below)["required"] = required
    return [key for key, value in values.items() if value is not None and not _may_be_null(node, key)]


def _resolved(part: dict, schema: dict) -> dict:
    if "allOf" in part:
        part = part["allOf"][0]
    return schema["definitions"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part


def _may_be_null(node: dict, key: str) -> bool:
    return "null" in node["properties"].get(key, {}).get("type", "")


if __name__ == "__main__":
    path = CHART / "values.schema.json"
    descriptions = {found["key"]: found["text"] for found in ROW.finditer((CHART / "README.md").read_text())}
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    made = renewed(json.loads(path.read_text()), values, descriptions)
    path.write_text(json.dumps(made, indent=2, ensure_ascii=False) + "\n")
