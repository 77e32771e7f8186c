"""Convert a parameter's value to what the function's annotation says, by pydantic's rules."""

from __future__ import annotations

import datetime as dt
import decimal
import functools
import inspect
import pathlib
import types
import typing
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from dask_flow.errors import InputError

__all__ = ["annotations_of", "converted"]

# YAML reads some texts as what they were not meant to be, 12:30 as 750, 007 as 7: these types read the text themselves.
READ_TEXT = (
    *(str, int, float, complex, bytes, bool, decimal.Decimal, uuid.UUID),
    *(dt.date, dt.datetime, dt.time, dt.timedelta),
    *(pathlib.Path, pathlib.PurePath),
)


def annotations_of(function: Callable[..., Any]) -> Mapping[str, Any]:
    """Return the annotations of the function's parameters that can be read, those written as texts too."""
    namespace = _namespace(function)
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.annotation is not parameter.empty:
            annotation = _evaluated(parameter.annotation, namespace)
            if annotation is not None:
                found[name] = annotation
    return found


def _namespace(function: Any) -> Mapping[str, Any]:
    """Return the globals of the function's own code, below what wraps it."""
    while isinstance(function, functools.partial):
        function = function.func
    plain = inspect.unwrap(function)
    if not inspect.isroutine(plain):
        plain = inspect.unwrap(type(plain).__call__)
    return getattr(plain, "__globals__", {})


def _evaluated(annotation: Any, namespace: Mapping[str, Any]) -> Any:
    """Return the annotation; None if it is a text with names that exist only while types are checked."""
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, dict(namespace))  # noqa: S307 # the user's own code
    except Exception:
        return None


def converted(function: str, parameter: str, annotation: Any, value: Any, text: str | None) -> Any:
    """Return the value as what the annotation says; as it is, where that is nothing that pydantic knows.

    `text` is how the user wrote it, if it is a scalar. Raises InputError that names the function and the parameter.
    """
    from pydantic import ValidationError

    adapter = _adapter(annotation)
    if adapter is None:
        return value
    problem: ValidationError | None = None
    for candidate in _candidates(annotation, value, text):
        try:
            return adapter.validate_python(candidate)
        except ValidationError as error:
            problem = problem or error
    raise InputError(
        f"{function}() needs {inspect.formatannotation(annotation)} for its parameter {parameter!r}, "
        f"not {value if text is None else text!r}: {_reason(problem)}"
    ) from problem


def _adapter(annotation: Any) -> Any:
    from pydantic import ConfigDict, PydanticUserError, TypeAdapter

    try:
        return TypeAdapter(annotation, config=ConfigDict(coerce_numbers_to_str=True))
    except PydanticUserError as error:
        if error.code != "type-adapter-config-unused":  # a model or a dataclass has its own
            return None
    except Exception:
        return None
    return TypeAdapter(annotation)


def _candidates(annotation: Any, value: Any, text: str | None) -> list[Any]:
    """Return what to try in turn: the text and the value that YAML made of it."""
    if text is None:
        return [value]
    kinds = [annotation]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        kinds = [each for each in typing.get_args(annotation) if each is not types.NoneType]
        if value is None and len(kinds) < len(typing.get_args(annotation)):
            return [None]
    if len(kinds) > 1 or kinds[0] not in READ_TEXT:
        return [value, text]
    return [text] if isinstance(value, bool) else [text, value]  # True is no number


def _reason(error: Any) -> str:
    first = error.errors(include_url=False)[0]
    where = "".join(f"[{part!r}]" for part in first["loc"])
    message = str(first["msg"])
    return f"{f'at {where} ' if where else ''}{message[:1].lower()}{message[1:]}"
