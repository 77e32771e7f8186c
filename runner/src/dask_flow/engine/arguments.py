"""Arguments with places in them for what is on workers, which are filled there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from dask_flow.core.edge import rebuilt
from dask_flow.engine.items import Items, Unsuccessful, summed_up

__all__ = ["EACH", "LENIENT", "STRICT", "Pieces", "Slot", "Template", "filled", "flatten_items"]

EACH, STRICT, LENIENT = "each", "strict", "lenient"


class Slot(NamedTuple):
    """In an argument: the value at this place among those that Dask hands over."""

    place: int


class Pieces(NamedTuple):
    """In an argument: a list put together from items of what Dask hands over: place, and from where to where.

    None for both: the value at the place is itself the item. In place of a place there may be the items themselves.
    """

    parts: tuple[tuple[Any, int | None, int | None], ...]
    whole: str = EACH
    """What to do with items that have no value: keep them, make the list unsuccessful, take their states' results."""


class Template(NamedTuple):
    """An argument that is a collection with places in it."""

    value: Any

    def filled(self, values: Sequence[Any]) -> Any:
        """Return the collection with each place filled, or what is unsuccessful in it."""
        lacking: list[Unsuccessful] = []

        def fill(value: Any) -> Any:
            if not isinstance(value, Slot | Pieces):
                return rebuilt(value, fill)
            found = filled(value, values)
            if type(found) is Unsuccessful:
                lacking.append(found)
            return found

        whole = fill(self.value)
        return lacking[0] if lacking else whole


def filled(argument: Any, values: Sequence[Any]) -> Any:
    """Put what Dask handed over into its places in an argument."""
    if isinstance(argument, Slot):
        return values[argument.place]
    if isinstance(argument, Pieces):
        return _joined(argument, values)
    if type(argument) is Template:
        return argument.filled(values)
    return argument


def _joined(pieces: Pieces, values: Sequence[Any]) -> Any:
    joined: list[Any] = []
    for place, start, stop in pieces.parts:
        held = values[place] if isinstance(place, int) else place
        if start is None:
            joined.append(held)
        else:
            listed = isinstance(held, list | tuple)
            joined.extend(held[start:stop] if listed else [held[i] for i in range(start, stop or len(held))])
    if pieces.whole == EACH:
        return joined
    lacking = [each.state for each in joined if type(each) is Unsuccessful]
    if pieces.whole == STRICT and lacking:
        return Unsuccessful(next((each for each in lacking if not each.is_finished()), lacking[0]))
    return [each.state.result if type(each) is Unsuccessful else each for each in joined] if lacking else joined


def flatten_items(values: Sequence[Any], pieces: Pieces, run_id: str) -> Items:
    """Return the items of the items; what has none stays as it is."""
    flat = Items()
    for each in _joined(pieces, values):
        if type(each) is Unsuccessful or not hasattr(each, "__getitem__"):
            flat.append(each)
        else:
            flat.extend(each)
    return summed_up(flat, run_id)
