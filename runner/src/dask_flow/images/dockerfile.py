"""Render the Dockerfile of a flow's image."""

from __future__ import annotations

import json
import shlex
from importlib.resources import files

import jinja2

from dask_flow.errors import InputError
from dask_flow.images.plan import OURS, ImagePlan

__all__ = ["render"]


def render(image: ImagePlan) -> str:
    """Return the Dockerfile. Raises InputError for a value that none can hold."""
    environment = jinja2.Environment(
        autoescape=False,  # noqa: S701 # it is no HTML
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"env_value": _env_value, "shell_word": _shell_word, "json": json.dumps}
    template = files("dask_flow.images").joinpath("Dockerfile.jinja").read_text(encoding="utf-8")
    return environment.from_string(template).render(image=image, ours=OURS)


def _env_value(value: object) -> str:
    """Quote a value for ENV. What looks like $NAME or ${NAME} in it is replaced by the builder, as in Docker."""
    text = _one_line(str(value)).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _shell_word(requirement: str) -> str:
    return shlex.quote(_one_line(requirement))


def _one_line(text: str) -> str:
    if "\n" in text:
        raise InputError(f"{text!r}: a Dockerfile cannot have a line break in a value")
    return text
