"""The pictures of a flow's graph: SVG laid out here, the HTML page around it, and what Graphviz draws."""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
import shutil
import subprocess
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dask_flow.errors import InputError
from dask_flow.graph.layout import Layout, Point, arrange
from dask_flow.graph.model import COLOURS, Graph, Node, shorten
from dask_flow.graph.text import LONGEST_KEY, dot

if TYPE_CHECKING:
    import jinja2

__all__ = ["best_svg", "graphviz", "html", "svg"]

MARGIN = 12.0
GRAPHVIZ_SECONDS = 10
# Pixels of a character at 14 px, at most, in the fonts that are used.
FULL_WIDTH, CAPITAL_WIDTH, USUAL_WIDTH = 17.0, 11.5, 8.0
SMALLER, LABEL_HEIGHT = 0.8, 12.0  # the letters of labels, 11 px

Arrow = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class _Box:
    node: Node
    number: int
    left: float
    top: float
    width: float
    height: float


def best_svg(graph: Graph) -> bytes:
    """Return the graph as Graphviz draws it, or, where that is not there or takes too long, as `svg` does."""
    try:
        return graphviz(dot(graph), "svg")
    except InputError:
        return svg(graph).encode()


def graphviz(source: str, format: str) -> bytes:  # noqa: A002 - Graphviz's word
    """Have Graphviz draw a graph. Raises InputError: it is not there, does not know the format, or takes too long."""
    program = shutil.which("dot")
    if program is None:
        raise InputError(
            f"{format} is drawn by Graphviz, whose program `dot` is not on the PATH; install the package graphviz "
            "(apt, dnf, brew), or take svg or html, which need nothing"
        )
    # Limits of its network simplex: without them a flow of 2,000 tasks can take a minute.
    command = [program, f"-T{format}", "-Gnslimit=1", "-Gnslimit1=1"]
    try:
        done = subprocess.run(command, input=source.encode(), capture_output=True, check=True, timeout=GRAPHVIZ_SECONDS)
    except subprocess.TimeoutExpired as error:  # many arrows over many tasks
        raise InputError(f"Graphviz did not draw {format} within {GRAPHVIZ_SECONDS} s; take svg or html") from error
    except subprocess.CalledProcessError as error:
        reason = " ".join(error.stderr.decode(errors="replace").split())
        raise InputError(f"Graphviz cannot draw {format}: {reason}") from error
    return done.stdout


def svg(graph: Graph) -> str:
    """Return the graph as an `svg` element, which needs nothing from elsewhere."""
    return _templates().get_template("graph.svg").render(_picture(graph), linked=False)


def html(graph: Graph) -> str:
    """Return a page with the graph and a table of its tasks, which needs nothing from elsewhere."""
    columns = [key for key in graph.nodes[0].details if any(node.details[key] for node in graph.nodes)]
    return _templates().get_template("graph.html").render(_picture(graph), columns=columns, linked=True)


@functools.cache
def _templates() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


def _picture(graph: Graph) -> dict[str, Any]:
    """Return what the templates draw."""
    sizes = [_size(node) for node in graph.nodes]
    labels = _labels(graph)
    layout = arrange(sizes, labels, _label_rooms(graph, labels))
    label_places = _label_places(layout.routes, labels)
    mapped = {(link.upstream, link.downstream) for link in graph.links if link.mapped}
    return {
        "title": graph.title,
        "description": f"{_count(len(graph.nodes), 'task')}, {_count(len(graph.links), 'edge')}",
        "nodes": graph.nodes,
        "boxes": _boxes(graph, sizes, layout),
        "edges": [
            {
                "path": _path(route),
                "label": labels[link],
                "label_place": label_places.get(link),
                "mapped": link in mapped,
            }
            for link, route in layout.routes.items()
        ],
        "width": layout.width + 2 * MARGIN,
        "height": layout.height + 2 * MARGIN,
        "margin": MARGIN,
        "colours": COLOURS,
    }


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _labels(graph: Graph) -> dict[Arrow, str]:
    """Return the labels of the arrows: the arguments that get the result.

    Of several arrows with the same label to a task, such as those of a list of tasks, the middle one has it.
    """
    keys: dict[tuple[int, int], list[str]] = {}
    for link in graph.links:
        keys.setdefault((link.upstream, link.downstream), []).extend([link.label] if link.label else [])
    labels = {arrow: shorten(", ".join(dict.fromkeys(names)), LONGEST_KEY) for arrow, names in keys.items()}
    alike: dict[tuple[int, str], list[Arrow]] = {}
    for arrow, label in labels.items():
        alike.setdefault((arrow[1], label), []).append(arrow)
    shown = {arrows[len(arrows) // 2] for arrows in alike.values()}
    return {arrow: label if arrow in shown else "" for arrow, label in labels.items()}


def _label_rooms(graph: Graph, labels: dict[Arrow, str]) -> list[float]:
    """Return for each node the room that the labels of the arrows to it need, in their smaller letters."""
    rooms = [0.0] * len(graph.nodes)
    for (_, downstream), label in labels.items():
        rooms[downstream] = max(rooms[downstream], _width(label) * SMALLER)
    return rooms


def _width(text: str) -> float:
    return sum(
        FULL_WIDTH
        if unicodedata.east_asian_width(each) in "WF"
        else CAPITAL_WIDTH
        if each.isupper() or each in "mw@%…"
        else USUAL_WIDTH
        for each in text
    )


def _size(node: Node) -> Point:
    return max(_width(node.label), _width(node.state)) + 24, 52.0 if node.state else 34.0


def _boxes(graph: Graph, sizes: list[Point], layout: Layout) -> list[_Box]:
    return [
        _Box(node, number, x - width / 2, y - height / 2, width, height)
        for number, (node, (width, height), (x, y)) in enumerate(zip(graph.nodes, sizes, layout.places, strict=True))
    ]


def _path(points: list[Point]) -> str:
    """Return a route as SVG's path: a curve from layer to layer, a straight line through one."""
    path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    for (x0, y0), (x1, y1), after in zip(points[::2], points[1::2], [*points[2::2], None], strict=True):
        middle = (x0 + x1) / 2
        path += f"C{middle:.1f} {y0:.1f} {middle:.1f} {y1:.1f} {x1:.1f} {y1:.1f}"
        if after is not None:
            path += f"H{after[0]:.1f}"
    return path


def _label_places(routes: Mapping[Arrow, list[Point]], labels: Mapping[Arrow, str]) -> dict[Arrow, Point]:
    """Return where the labels go: on the last curve, where no arrow to another task runs, and not over another label.

    If there is no such place they go where arrows to one task are apart, and those from one task too.
    """
    taken: dict[tuple[int, int], list[tuple[float, float, float]]] = collections.defaultdict(list)
    places = {}
    for arrow, label in labels.items():
        if label:
            tries = [_on_curve(routes[arrow][-2], routes[arrow][-1], at) for at in (0.4, 0.6, 0.3, 0.7, 0.2, 0.8)]
            width = _width(label) * SMALLER
            x, y = places[arrow] = next((each for each in tries if _is_free(each, width, taken)), tries[0])
            taken[_cell(x, y)].append((x, y, width))
    return places


def _on_curve(start: Point, end: Point, at: float) -> Point:
    """Return a point on a curve that `_path` draws, a Bézier curve whose ends are level."""
    (x0, y0), (x1, y1) = start, end
    straight, smooth = 1.5 * at - 1.5 * at**2 + at**3, 3 * at**2 - 2 * at**3
    return x0 + straight * (x1 - x0), y0 + smooth * (y1 - y0)


def _is_free(place: Point, width: float, taken: Mapping[tuple[int, int], list[tuple[float, float, float]]]) -> bool:
    column, row = _cell(*place)
    near = itertools.product((column - 1, column, column + 1), (row - 1, row, row + 1))
    return not any(
        abs(place[0] - x) < (width + other) / 2 and abs(place[1] - y) < LABEL_HEIGHT
        for cell in near
        for x, y, other in taken.get(cell, ())
    )


def _cell(x: float, y: float) -> tuple[int, int]:
    """Return in which cell of a grid a label's middle is; what is not in a cell beside it cannot touch it."""
    return int(x // (LONGEST_KEY * FULL_WIDTH)), int(y // LABEL_HEIGHT)
