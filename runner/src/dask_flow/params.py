"""Parameters and arguments of a run as the user writes them, in YAML."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dask_flow.errors import InputError

__all__ = ["Params", "parse_args", "parse_params"]


class Params(dict[str, Any]):
    """Parameters by name. `texts` has those that are scalars as they were written: YAML makes 12:30 the number 750."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: dict[str, str] = {}


def parse_params(mapping: str | None, pairs: Iterable[str]) -> Params:
    """Merge `NAME=VALUE` pairs over a YAML mapping, that of the variable DASK_FLOW_PARAMS. Raises InputError."""
    import yaml

    params = Params()
    if mapping:
        root, _ = _parse(mapping, "DASK_FLOW_PARAMS")
        if not isinstance(root, yaml.MappingNode):
            raise InputError(f"DASK_FLOW_PARAMS must be one YAML mapping, such as {{name: value}}, not {mapping!r}")
        params.update(yaml.safe_load(mapping))
        params.texts.update({key.value: value.value for key, value in root.value if isinstance(value, yaml.ScalarNode)})
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise InputError(f"--param {pair!r} is not NAME=VALUE")
        node, params[name] = _parse(text, f"--param {name}")
        params.texts.pop(name, None)
        if node is None or isinstance(node, yaml.ScalarNode):
            params.texts[name] = node.value if node else ""
    return params


def parse_args(sequence: str | None, args: Iterable[str]) -> tuple[str, ...]:
    """Return a script's arguments: those given, else the YAML list of the variable DASK_FLOW_ARGS. Raises InputError.

    They stay texts, as on a command line: 007 is no number.
    """
    import yaml

    given = tuple(args)
    if given or not sequence:
        return given
    node, _ = _parse(sequence, "DASK_FLOW_ARGS")
    items = node.value if isinstance(node, yaml.SequenceNode) else [node]
    if not isinstance(node, yaml.SequenceNode) or not all(isinstance(each, yaml.ScalarNode) for each in items):
        raise InputError(f"DASK_FLOW_ARGS must be one YAML list of texts, such as [--days, 7], not {sequence!r}")
    return tuple(each.value for each in items)


def _parse(text: str, source: str) -> tuple[Any, Any]:
    """Return the YAML text's node, which has its spelling, and its value."""
    import yaml

    try:
        return yaml.compose(text, Loader=yaml.SafeLoader), yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{source} is not YAML: {' '.join(str(error).split())}") from error
