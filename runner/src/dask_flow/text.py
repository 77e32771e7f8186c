"""Texts of other people's code: what a task prints, logs, returns, raises or is called, and what a pod says.

They come in everywhere and go into logs, files, terminals, JSON and Dask's messages, some of which a lone surrogate or
a control character ends. So whatever takes such a text takes it by `printable`.
"""

from __future__ import annotations

import contextvars
import itertools
import logging
import re
import threading
import types
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["LONGEST", "LONGEST_NAME", "LONGEST_REASON", "LONGEST_TRACEBACK", "one_line", "printable"]

LONGEST, LONGEST_TRACEBACK, LONGEST_REASON, LONGEST_NAME = 50_000, 20_000, 2_000, 200
"""In characters: what is logged at once, a traceback, an error's text in a sentence, a task's name."""

LONGEST_NOTE = 50
"""In characters: what says how much is left out, so that a text that was cut is not cut again."""

MOST_ITEMS, FIRST_ITEMS = 1_000, 100
"""Of a collection with more items than the one number, so many as the other are shown: repr() would make them all."""

SECONDS = 2
"""How long the text of a value may take."""

# Control characters, lone surrogates, other line ends, and what turns the direction of a line.
NO_TEXT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
SCALARS = (str, bytes, int, float, complex, bool, types.NoneType)
COLLECTIONS = (list, tuple, set, frozenset, dict, deque, bytes, bytearray)
GENERAL = ("builtins", "collections")
"""Modules of types whose values are slow by what is in them, so that others may be fast."""

# By name: workers get these functions by value, and what is here with them.
_too_slow: set[tuple[str, str]] = set()


def _shown(value: Any) -> str:
    """Return a value's repr; of a big collection, that of its first items."""
    kind = type(value)
    if kind not in COLLECTIONS or len(value) <= MOST_ITEMS:
        return repr(value)
    first = kind(itertools.islice(value.items() if kind is dict else value, FIRST_ITEMS))
    return f"{first!r}… ({len(value):,} items in all)"


def printable(value: Any, most: int = LONGEST, form: Callable[[Any], str] = _shown) -> str:
    """Return a text, or what `form` makes of any other value, so that it can go anywhere; never raises.

    What is no text is escaped as Python does it; line ends and tabs stay. Of more than `most` characters the middle is
    left out, and the text says how many those were. A value that has no text, or not soon, is called by its type.
    """
    text = _cut(str.__str__(value) if isinstance(value, str) else _formed(value, form), most)
    if text.isprintable():
        return text
    return NO_TEXT.sub(_escaped, text.replace("\r\n", "\n").removesuffix("\r"))


def one_line(value: Any, most: int = LONGEST) -> str:
    """Return a value as `printable` does, with its line ends and tabs escaped too."""
    return re.sub("[\n\t]", _escaped, printable(value, most))


def _escaped(found: re.Match[str]) -> str:
    return repr(found[0])[1:-1]


def _cut(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    kept = max(most - LONGEST_NOTE, 0)
    tail = kept // 4
    return f"{text[: kept - tail]}… ({len(text) - kept:,} characters left out) …{text[len(text) - tail :]}"


def _formed(value: Any, form: Callable[[Any], str]) -> str:
    """Call `form`; in a thread that is left alone when it takes too long, if code of other people may be called."""
    name = (str(type(value).__module__), type(value).__qualname__)
    if name in _too_slow:
        return _not_shown(value, f"it took more than {SECONDS} s before")
    if _is_simple(value):
        try:
            return form(value)
        except Exception as error:  # such as of an integer of 5,000 digits
            return _not_shown(value, error)
    results: list[str | BaseException] = []
    thread = threading.Thread(target=contextvars.copy_context().run, args=(_form_in, results, value, form), daemon=True)
    try:
        thread.start()
        thread.join(SECONDS)
    except RuntimeError as error:  # no thread can be started any more
        results.append(error)
    if not results:
        if not isinstance(value, logging.LogRecord) and name[0] not in GENERAL:
            _too_slow.add(name)  # there may be one for each item
        return _not_shown(value, f"it takes more than {SECONDS} s")
    if isinstance(results[0], BaseException):  # it may belong to this thread, as a connection of SQLite's does
        results.clear()
        _form_in(results, value, form)
    return results[0] if isinstance(results[0], str) else _not_shown(value, results[0])


def _form_in(results: list[str | BaseException], value: Any, form: Callable[[Any], str]) -> None:
    try:
        results.append(str.__str__(form(value)))
    except BaseException as error:  # even one that would end the process
        results.append(error)


def _not_shown(value: Any, why: Any) -> str:
    if isinstance(why, BaseException):
        text = str(why) if _is_simple(why) else ""
        why = f"{type(why).__name__}: {text}".removesuffix(": ")
    is_line = isinstance(value, logging.LogRecord) and type(value.msg) is str
    return f"<{f'log line {value.msg!r}' if is_line else type(value).__name__} that cannot be shown: {why}>"


def _is_simple(value: Any) -> bool:
    """Tell whether only Python's own code makes the value's text."""
    kind = type(value)
    if isinstance(value, logging.LogRecord):
        arguments = value.args.values() if isinstance(value.args, Mapping) else value.args or ()
        return not value.exc_info and all(type(each) in SCALARS for each in (value.msg, *arguments))
    if not isinstance(value, BaseException):
        return kind in SCALARS
    own = type(kind.__str__) is type(kind.__repr__) is types.WrapperDescriptorType
    alone = value.__cause__ is None and value.__context__ is None
    return own and alone and all(type(each) in SCALARS for each in value.args)
