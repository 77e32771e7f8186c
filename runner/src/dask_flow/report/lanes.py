"""What each worker did over time, as paths of SVG whose number is bounded however many tasks there were."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dask_flow.report.tasks import COMPUTE, name_of
from dask_flow.report.workers import Worker

__all__ = ["COLOURS", "HEIGHT", "OTHER", "TRANSFER", "WIDTH", "Lane", "lanes"]

WIDTH, HEIGHT = 1000, 24
MOST_LANES = 40
BINS, FEWEST_BINS, MOST_BINS = 8000, 100, 500
COLOURS = 8
"""So many names have a colour of their own; the rest share OTHER, and what is not computing is TRANSFER."""
OTHER, TRANSFER = "other", "transfer"

Shares = list[dict[str, float]]


@dataclasses.dataclass(frozen=True)
class Lane:
    """A worker, or several; `paths` are by colour, in units of WIDTH and HEIGHT. `left` and `width` are in percent."""

    name: str
    busy: float
    left: float
    width: float
    paths: Mapping[str, str]


def lanes(
    stream: Iterable[Mapping[str, Any]],
    workers: Sequence[Worker],
    colours: Mapping[str, str],
    start: float,
    stop: float,
) -> list[Lane]:
    """Return a lane for each worker that ever joined, from `start` to `stop`; those beyond MOST_LANES share the last.

    `colours` are by task name. A lane is as high where a worker's threads are all busy, and lower by the share of
    those that are not.
    """
    workers = [each for each in workers if each.address]
    length = max(stop - start, 1e-6)
    groups = [[each] for each in workers[:MOST_LANES]]
    if len(workers) > MOST_LANES:
        groups[-1:] = [workers[MOST_LANES - 1 :]]
    bins = min(MOST_BINS, max(FEWEST_BINS, BINS // max(len(groups), 1)))
    number = {each.address: index for index, group in enumerate(groups) for each in group}
    seconds: list[Shares] = [[defaultdict(float) for _ in range(bins)] for _ in groups]
    for record, colour in _coloured(stream, colours):
        for part in record["startstops"]:
            if record["worker"] in number:
                kind = colour if part["action"] == COMPUTE else TRANSFER
                span = ((part["start"] - start) / length * bins, (part["stop"] - start) / length * bins)
                _spread(seconds[number[record["worker"]]], kind, span)
    order = [*(f"c{index}" for index in range(COLOURS)), OTHER, TRANSFER]
    return [_lane(group, shares, order, start, length) for group, shares in zip(groups, seconds, strict=True)]


def _coloured(
    stream: Iterable[Mapping[str, Any]], colours: Mapping[str, str]
) -> Iterable[tuple[Mapping[str, Any], str]]:
    return ((record, colours.get(name_of(record["key"]), OTHER)) for record in stream)


def _spread(shares: Shares, kind: str, span: tuple[float, float]) -> None:
    """Add a span of time, in bins, to the bins that it is in."""
    begin, end = max(span[0], 0.0), min(span[1], float(len(shares)))
    index = int(begin)
    while begin < end:
        shares[index][kind] += min(end, index + 1) - begin
        index += 1
        begin = float(index)


def _lane(group: Sequence[Worker], shares: Shares, order: Sequence[str], start: float, length: float) -> Lane:
    begins = [max(((each.joined or start) - start) / length, 0.0) for each in group]
    ends = [min(((each.left or start + length) - start) / length, 1.0) for each in group]
    present = sum(max(end - begin, 0.0) * each.threads for each, begin, end in zip(group, begins, ends, strict=True))
    busy = sum(sum(share.values()) for share in shares) / len(shares)
    return Lane(
        name=group[0].name if len(group) == 1 else f"{len(group)} more workers",
        busy=min(busy / present, 1.0) if present else 0.0,
        left=100 * min(begins),
        width=100 * max(max(ends) - min(begins), 0.0),
        paths=_paths(shares, order, sum(each.threads for each in group)),
    )


def _paths(shares: Shares, order: Sequence[str], threads: int) -> dict[str, str]:
    """Stack the colours' shares of each bin, the first at the bottom; bins alike that follow one another are one."""
    width = WIDTH / len(shares)
    paths: defaultdict[str, list[str]] = defaultdict(list)
    rows: dict[str, tuple[int, int, int]] = {}  # by colour: the bin where it began, its top, its height
    for index, share in enumerate([*shares, {}]):
        top = HEIGHT
        for kind in order:
            part = share.get(kind, 0.0) / threads
            height = min(top, max(1, round(part * HEIGHT))) if part > 0 else 0
            top -= height
            if kind in rows and rows[kind][1:] != (top, height):
                paths[kind].append(_rectangle(rows.pop(kind), index, width))
            if height:
                rows.setdefault(kind, (index, top, height))
    return {kind: "".join(parts) for kind, parts in paths.items()}


def _rectangle(row: tuple[int, int, int], end: int, width: float) -> str:
    first, top, height = row
    return f"M{first * width:g} {top}h{(end - first) * width:g}v{height}h-{(end - first) * width:g}z"
