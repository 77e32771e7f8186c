"""report.html: one page with all that is in it, and no need of a network."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dask_flow.errors import InputError
from dask_flow.history import History
from dask_flow.report.lanes import COLOURS, HEIGHT, OTHER, WIDTH, lanes
from dask_flow.report.tasks import shown
from dask_flow.report.times import FLOW
from dask_flow.report.workers import Worker

if TYPE_CHECKING:
    import jinja2

__all__ = ["duration", "page", "size", "ticks"]

MOST_WORKERS = 100
MOST_ERRORS = 20
LONGEST_RESULT = 2000
MOST_NODES = 200
TICKS = 8


def page(report: Mapping[str, Any], history: History, workers: Sequence[Worker]) -> str:
    """Return the page of a report, which is what report.json has."""
    colours = {each["name"]: f"c{index}" for index, each in enumerate(report["tasks"][:COLOURS])}
    flow = history.step(FLOW)
    charts = lanes(shown(history.seen.stream), workers, colours, flow.start, flow.stop) if flow else []
    return (
        _templates()
        .get_template("page.html")
        .render(
            report=report,
            colours=colours,
            lanes=charts,
            lane=(WIDTH, HEIGHT),
            flow_seconds=flow.seconds if flow else 0.0,
            picture=_picture(history),
            longest=max((each["seconds"] for each in report["tasks"]), default=0.0) or 1.0,
            most=MOST_WORKERS,
            errors=MOST_ERRORS,
            longest_result=LONGEST_RESULT,
            total=sum(report["time"].values()) or 1.0,
        )
    )


def _picture(history: History) -> str | None:
    """Return the flow's picture as SVG, with what became of its tasks; None if it has none that can be looked at."""
    from dask_flow.graph.model import by_name, read
    from dask_flow.graph.picture import svg

    try:
        graph = read(history.flow, history.result.state if history.result else None)
    except InputError:
        return None
    if len(graph.nodes) > MOST_NODES:
        grouped = by_name(graph)
        if grouped is None or len(grouped.nodes) > MOST_NODES:
            return None
        graph = grouped
    return svg(graph)


@functools.cache
def _templates() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"duration": duration, "size": size}
    environment.globals |= {"ticks": ticks, "OTHER": OTHER}
    return environment


def duration(seconds: float | None) -> str:
    """Return seconds as a reader wants them: three digits or so, and a unit."""
    if seconds is None:
        return ""
    if seconds < 1:
        text = f"{1e6 * seconds:.0f} µs" if seconds < 1e-3 else f"{1e3 * seconds:.3g} ms"  # noqa: PLR2004
    elif seconds < 120:  # noqa: PLR2004
        text = f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"  # noqa: PLR2004
    else:
        minutes, rest = divmod(round(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        text = f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
    return text


def size(count: float) -> str:
    """Return a number of bytes with a binary unit."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:  # noqa: PLR2004
            return f"{count:.0f} B" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} TiB"


def ticks(seconds: float) -> list[tuple[float, str]]:
    """Return the marks of a time axis: places in percent, and labels."""
    if seconds <= 0:
        return []
    rough = seconds / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [(100 * number * step / seconds, f"{number * step:g} s") for number in range(int(seconds / step) + 1)]
