"""YAML that remembers its lines, so that a message can say where a mistake is."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from dask_flow.errors import InputError
from dask_flow.text import one_line

__all__ = ["Document", "Path", "load"]

Path = tuple[str | int, ...]

NODE_LIMIT = 100_000  # aliases of aliases can make a short file endless
TAG = "tag:yaml.org,2002:"
# What SafeConstructor raises for a scalar that is not of its tag: of the month 13, of `!!int x`.
NOT_OF_ITS_TAG = (ValueError, LookupError, AttributeError, TypeError, OverflowError)


@dataclasses.dataclass(frozen=True)
class Document:
    """A mapping without nulls, as the API server sees it; where each key or item is, and how each scalar is written."""

    data: Any
    lines: Mapping[Path, int]
    texts: Mapping[Path, str] = dataclasses.field(default_factory=dict)

    def line(self, path: Path) -> int:
        """Return the line of a key or item, or, if it is missing, of what should hold it."""
        return self.lines[next(path[:end] for end in range(len(path), -1, -1) if path[:end] in self.lines)]


def load(text: str, name: str) -> Document:
    """Read one YAML document whose top is a mapping. Raises InputError with `name` and line."""
    fail = functools.partial(_fail, name)
    try:
        nodes = [node for node in yaml.compose_all(text, Loader=yaml.SafeLoader) if not _is_null(node)]
        if not nodes:
            raise fail(1, "a Pod manifest must be a YAML mapping; the file is empty")
        if len(nodes) > 1:
            raise fail(_line(nodes[1]), "not YAML of one document: another begins here; put it into a file of its own")
        _refuse_repeated_keys(nodes[0], set())
        reader = _Reader()
        data = reader.read(nodes[0], ())
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1 if isinstance(error.position, int) else 1
        raise fail(line, f"not YAML: {error.reason}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        advice = "; indent by blanks, not by tabs" if "\\t" in (error.problem or "") else ""
        raise fail(mark.line + 1 if mark else 1, f"not YAML: {error.problem or error.context}{advice}") from error
    except RecursionError as error:
        raise fail(1, "not YAML of a Pod: it is nested too deep, or an anchor holds itself") from error
    if not isinstance(data, dict):
        raise fail(_line(nodes[0]), f"a Pod manifest must be a YAML mapping, not {type(data).__name__}")
    return Document(data, reader.lines, reader.texts)


def _fail(name: str, line: int, message: str) -> InputError:
    return InputError(one_line(f"{name}:{line}: {message}"))


def _line(node: yaml.Node) -> int:
    line: int = node.start_mark.line
    return line + 1


def _is_null(node: yaml.Node) -> bool:
    return bool(node.tag == f"{TAG}null")


def _problem(node: yaml.Node, problem: str) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _refuse_repeated_keys(node: yaml.Node, seen: set[int]) -> None:
    """Raise for a key that is twice in one mapping; what `<<` merges in may be there again."""
    if id(node) in seen or isinstance(node, yaml.ScalarNode):
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_repeated_keys(item, seen)
        return
    first: dict[str, int] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _problem(key, "a key must be a text; quote it if it begins with { or [")
        if key.tag != f"{TAG}merge":
            if key.value in first:
                raise _problem(key, f"the key '{key.value}' is already in line {first[key.value]}; keep one of them")
            first[key.value] = _line(key)
        _refuse_repeated_keys(value, seen)


class _Reader:
    """Makes plain values of nodes, and notes where they are."""

    def __init__(self) -> None:
        self.lines: dict[Path, int] = {}
        self.texts: dict[Path, str] = {}
        self._constructor = yaml.constructor.SafeConstructor()

    def read(self, node: yaml.Node, path: Path) -> Any:
        self.lines.setdefault(path, _line(node))
        if len(self.lines) > NODE_LIMIT:
            raise _problem(node, f"more than {NODE_LIMIT} keys and items; its aliases repeat each other")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        kind = "seq" if isinstance(node, yaml.SequenceNode) else "map"
        if node.tag != TAG + kind:
            raise _problem(node, f"the tag {node.tag.replace(TAG, '!!')} has no meaning in a manifest; leave it out")
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
        return dict(self._items(node, path))

    def _items(self, node: Any, path: Path) -> Iterator[tuple[str, Any]]:
        self._constructor.flatten_mapping(node)
        # Of a key that was merged in and is here again, the last wins.
        for key, value in {key.value: (key, value) for key, value in node.value}.values():
            self.lines[*path, key.value] = _line(key)
            if not _is_null(value):
                yield key.value, self.read(value, (*path, key.value))

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        self.texts[path] = node.value
        try:
            return self._constructor.construct_object(node)
        except NOT_OF_ITS_TAG as error:
            raise _problem(node, f"{node.value} is not a {node.tag.replace(TAG, '')}; quote it") from error
