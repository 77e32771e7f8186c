"""What a message says of a wrong word or value: what it is, what it should be, what was probably meant."""

from __future__ import annotations

import datetime as dt
import difflib
import json
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

__all__ = [
    "article",
    "conversion",
    "enumeration",
    "kind_of",
    "maybe",
    "near",
    "quantity",
    "quantity_advice",
    "said",
    "same",
]

KINDS = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
}
QUANTITY = re.compile(r"\+?([0-9]+\.?[0-9]*|\.[0-9]+)([numk]|[KMGTPE]i|[MGTPE]|[eE][-+]?[0-9]{1,3})?")
UNITS = {unit: Decimal(1000) ** power for power, unit in enumerate(["n", "u", "m", "", "k", *"MGTPE"], start=-3)}
UNITS |= {f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", start=1)}


def article(title: str) -> str:
    """Return a kind's name with its article, as it is spoken: a Container, an EnvVar, an HTTPGetAction."""
    return f"an {title}" if re.match("[AEIO]|[FHLMNRSX][A-Z]", title) else f"a {title}"


def enumeration(words: Iterable[str], conjunction: str) -> str:
    """Return `a, b or c`."""
    *others, last = words
    return f"{', '.join(others)} {conjunction} {last}" if others else last


def said(value: Any, text: str | None = None) -> str:
    """Return what a value is, as its YAML says it: the number 1, the boolean yes, a list."""
    text = str(value) if text is None else text
    names = {bool: "boolean", int: "number", float: "number", dt.date: "date", dt.datetime: "date"}
    if value is None or isinstance(value, list | dict):
        return {"NoneType": "null", "list": "a list"}.get(type(value).__name__, "a mapping")
    if isinstance(value, str):
        return f"the text {_shortened(value)!r}"
    return f"the {names.get(type(value), type(value).__name__)} {_shortened(text)}"


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"  # noqa: PLR2004


def _folded(word: str) -> str:
    return re.sub("[^a-z0-9]", "", word.lower())


def same(word: str, words: Iterable[str]) -> str | None:
    """Return the one of `words` that differs in case and punctuation only."""
    return {_folded(each): each for each in words}.get(_folded(word))


def near(word: str, words: Iterable[str]) -> str | None:
    """Return the one of `words` that was probably meant: with the word in it, or spelled alike."""
    folded, wanted = {_folded(each): each for each in words}, _folded(word)
    longer = sorted((each for each in folded if len(wanted) > 2 and wanted in each), key=len)  # noqa: PLR2004
    alike = difflib.get_close_matches(wanted, folded, 1, 0.66)
    return next((folded[each] for each in (*longer, *alike)), None)


def maybe(guess: str | None) -> str:
    """Return the question at the end of a message, if there is a guess."""
    return f"; did you mean {guess!r}?" if guess else ""


def kind_of(schema: Mapping[str, Any]) -> str:
    """Return the kind of value that a schema asks for."""
    if schema.get("title") == "Quantity":
        return "a quantity, such as 4Gi or 500m"
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return enumeration([KINDS[each] for each in types], "or")


def conversion(value: Any, text: str | None, schema: Mapping[str, Any], item: Mapping[str, Any]) -> str:
    """Return how to make a value of the type that its schema asks for; `item` is the schema of a list's items."""
    advice = {
        "string": _to_text,
        "array": _to_list,
        "object": _to_mapping,
        "integer": _to_number,
        "boolean": _to_boolean,
    }
    convert = advice.get(str(schema["type"]))
    found = convert(value, text or "", item if schema["type"] == "array" else schema) if convert else None
    return f"; {found}" if found else ""


def _to_text(value: Any, text: str, schema: Mapping[str, Any]) -> str | None:
    if isinstance(value, dict):
        return "if its ': ' is part of a text, quote it"
    return None if value is None or isinstance(value, list) else f"quote it: {json.dumps(text, ensure_ascii=False)}"


def _to_list(value: Any, text: str, item: Mapping[str, Any]) -> str | None:
    fields = item.get("properties", {})
    if isinstance(value, dict):
        if {"name", "value"} <= fields.keys() and not fields.keys() & value.keys():
            return f"write '- name: {next(iter(value), '')}' and under it 'value: …', and so for each"
        return "put '- ' before its first key"
    if value is None:
        return None
    if item.get("type") == "string":
        return f"write {json.dumps(text.split() if isinstance(value, str) else [text], ensure_ascii=False)}"
    return f"write '- name: {text}'" if "name" in fields else "put '- ' before each item"


def _to_mapping(value: Any, text: str, schema: Mapping[str, Any]) -> str | None:
    fields = schema.get("properties", {})
    if isinstance(value, list):
        return "leave out its '- '"
    if not isinstance(value, str):
        return None
    key, colon, _ = value.partition(":")
    if colon and key in fields:
        return f"put a space after '{key}:'"
    name, equals, content = value.partition("=")
    if equals and "value" in fields:
        return f"write {{name: {name}, value: {json.dumps(content, ensure_ascii=False)}}}"
    return f"write {{name: {value}}}" if "name" in fields else None


def _to_number(value: Any, text: str, schema: Mapping[str, Any]) -> str | None:
    if isinstance(value, float) and value.is_integer():
        return f"write {int(value)}"
    return "leave out the quotes" if isinstance(value, str) and re.fullmatch("-?[0-9]+", value) else None


def _to_boolean(value: Any, text: str, schema: Mapping[str, Any]) -> str | None:
    words = {"true": "true", "yes": "true", "on": "true", "1": "true", "false": "false", "no": "false", "off": "false"}
    word = {**words, "0": "false"}.get(text.lower())
    return f"write {word}" + " without quotes" * isinstance(value, str) if word else None


def quantity(value: Any) -> Decimal | None:
    """Return a Kubernetes quantity as a number: 2.147E+9 of 2Gi; None if it is no quantity.

    https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
    """
    match = QUANTITY.fullmatch(str(value))
    if not match or isinstance(value, bool):
        return None
    unit = match[2] or ""
    return Decimal(match[1]) * UNITS[unit] if unit in UNITS else Decimal(match[0])


def quantity_advice(value: str, path: tuple[str | int, ...]) -> str:
    """Return what is wrong with a text that is no quantity, and what was probably meant."""
    examples = "500m or 2" if path[-1] == "cpu" else "4Gi or 500M"
    advice = "; a resource is not negative" if value.startswith("-") else ""
    match = re.fullmatch(r"\s*([0-9.]+)\s*([kmgtpe])(i?)b?\s*", value, re.IGNORECASE)
    if match:
        number, unit, binary = match[1], match[2].upper(), match[3]
        decimal = [] if binary else [number + unit.replace("K", "k")]
        options = [each for each in (*decimal, f"{number}{unit}i") if quantity(each) is not None]
        advice = f"; did you mean {' or '.join(map(repr, options))}?" if options else ""
    return f"must be a quantity such as {examples}, not {_shortened(value)!r}{advice}"
