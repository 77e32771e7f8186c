"""Write docs/cli.md from the commands, and docs/values.md from the chart's schema and README: `make docs`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from dask_flow import cli

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/dask-flow"
GENERATED = "<!-- Made by `make docs`; change its source instead. -->"
DEFAULT = re.compile(r" *\[default: (.+)\]$")
OTHER = "Names and pull secrets"
CLI_HEAD = (
    f"# Commands\n\n{GENERATED}\n\nWhat `--help` of each command says. An option with a variable can be given by that "
    "too: the command line wins over the environment, that over what the flow declares, that over the default. "
    "[Exit codes](names.md#exit-codes).\n"
)
VALUES_HEAD = (
    f"# Values of the chart\n\n{GENERATED}\n\nFor `--set NAME=VALUE`, or a file for `-f`; some for common uses are in "
    "[values/](../values). Other names, and values of another kind, are refused. What is not set is taken from what "
    "the flow declares, then from the runner's defaults.\n"
)
KINDS = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "`true` or `false`",
    "object": "a mapping",
    "null": "`null`",
}


def cli_page() -> str:
    """Return the page of all commands and their options."""
    context = click.Context(cli.cli, info_name="dask-flow")
    commands = (cli.cli.get_command(context, name) for name in cli.cli.list_commands(context))
    return "\n".join([CLI_HEAD, *(_command(each, context) for each in commands if each)])


def _command(command: click.Command, parent: click.Context) -> str:
    context = click.Context(command, info_name=command.name, parent=parent)
    usage = " ".join(command.collect_usage_pieces(context))
    options, like_run = _options(command)
    rows = "".join(f"{_option(each, context)}\n" for each in options)
    table = f"| option, variable | default | meaning |\n|---|---|---|\n{rows}" if rows else ""
    text = (
        f"## {command.name}\n\n    dask-flow {command.name} {usage}\n\n{_paragraphs(command.help or '')}\n\n"
        f"{_epilog(command.epilog)}{like_run}{table}"
    )
    return f"{text.rstrip()}\n"


def _options(command: click.Command) -> tuple[list[click.Option], str]:
    """Return the options to list, and a sentence in place of those that are the same as of `run`."""
    options = [each for each in command.params if isinstance(each, click.Option)]
    runs = {each.name: each.opts[0] for each in cli.run.params if isinstance(each, click.Option)}
    own = [each for each in options if each.name not in runs]
    if command is cli.run or not own or len(own) > len(options) / 2:
        return options, ""
    lacking = [f"`{option}`" for name, option in runs.items() if name not in {each.name for each in options}]
    but = f", but for {', '.join(lacking)}" if lacking else ""
    return own, f"The options of [`run`](#run){but}. And:\n\n"


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(each.split()) for each in re.split(r"\n\s*\n", text))


def _epilog(text: str | None) -> str:
    return f"{' '.join(text.split())}\n\n" if text else ""


def _option(option: click.Option, context: click.Context) -> str:
    text = " ".join((option.help or "").split())
    default = DEFAULT.search(text)
    names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    choices = [f"`{each}`" for each in getattr(option.type, "choices", ())]
    value = "" if option.is_flag or option.count or choices else f" `{option.make_metavar(context)}`"
    meaning = DEFAULT.sub("", text) + (f" One of {', '.join(choices)}." if choices else "")
    variable = f"<br>`{option.envvar}`" if option.envvar else ""
    return _row([f"{names}{value}{variable}", default[1] if default else "", meaning.strip()])


def values_page() -> str:
    """Return the page of the chart's values: names, defaults and meanings from its README, types from its schema."""
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    readme = (CHART / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\w.]+) \| \w+ \| (`.*?`) \| (.*) \|$", readme, re.MULTILINE)
    groups: dict[str, list[str]] = {name: [] for name in ["flow", "cluster", "run", "runner", "image", OTHER]}
    for name, default, meaning in rows:
        found = _schema_of(name.split("."), schema, schema["definitions"])
        row = _row([f"`{name}`", _kind(found, schema["definitions"]), default.replace("`nil`", "`null`"), meaning])
        groups.setdefault(name.partition(".")[0] if "." in name else OTHER, []).append(row)
    head = "| value | kind | default | meaning |\n|---|---|---|---|\n"
    return "\n".join(
        [VALUES_HEAD, *(f"## {group}\n\n{head}" + "\n".join(lines) + "\n" for group, lines in groups.items())]
    )


def _schema_of(path: Iterable[str], schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the part of the schema for a value."""
    for name in path:
        schema = _resolved(schema, definitions)["properties"][name]
    return _resolved(schema, definitions)


def _resolved(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" in schema:
        return _resolved(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return _resolved(schema["allOf"][0], definitions) if "allOf" in schema else schema


def _kind(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """Say in words what a value may be."""
    if "enum" in schema:
        return " or ".join(f"`{each}`" if each else "empty" for each in schema["enum"])
    types = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    kinds = [_one_kind(each, schema, definitions) for each in types]
    return " or ".join([kinds[0] + "".join(_limits(schema)), *kinds[1:]])


def _one_kind(kind: str, schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if kind == "array":
        items = _resolved(schema["items"], definitions)
        return "a list of texts" if items["type"] == "string" else "a list of mappings"
    by_pattern: Mapping[str, Any] = next(iter(schema.get("patternProperties", {}).values()), {})
    items = _resolved(schema.get("additionalProperties") or by_pattern, definitions)
    if kind == "object" and items.get("type") == "string":
        return "a mapping of texts"
    return KINDS[kind]


def _limits(schema: Mapping[str, Any]) -> Iterator[str]:
    words = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to"}
    yield from (f" {word} {schema[name]}" for name, word in words.items() if name in schema)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(each.replace('|', chr(92) + '|') for each in cells)} |"


PAGES = {ROOT / "docs/cli.md": cli_page, ROOT / "docs/values.md": values_page}

if __name__ == "__main__":
    for path, page in PAGES.items():
        path.write_text(page(), encoding="utf-8")
