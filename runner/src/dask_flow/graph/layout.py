"""Where the nodes and edges of a graph go: layers from left to right, few crossings, short edges.

The steps are those of Gansner et al., "A technique for drawing directed graphs", IEEE TSE 19(3), 1993: layers by
longest paths, bends where an edge passes a layer, an order by barycenters, positions. They take less than a second for
2,000 nodes. Of the libraries on PyPI, graphlay takes over ten seconds for that, fast-sugiyama over a minute; grandalf
is fast, but is under the GPL or the EPL, and leaves the routes of edges and separate parts of a graph to its caller.
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from graphlib import TopologicalSorter

__all__ = ["Layout", "arrange"]

Link = tuple[int, int]
Point = tuple[float, float]
Column = tuple[float, float]

ORDER_SWEEPS = 16
POSITION_SWEEPS = 12
LONGEST_BENT_EDGE = 40  # layers; longer edges pass behind the nodes, or there would be millions of bends
NODE_SPACE, BEND_SPACE = 20.0, 18.0
LAYER_SPACE, STEEP_LAYER_SPACE = 48.0, 160.0


@dataclasses.dataclass(frozen=True)
class Layout:
    """The middle of each node, and the points that each link passes: a curve, a straight line, a curve, and so on."""

    places: list[Point]
    routes: dict[Link, list[Point]]
    width: float
    height: float


class _Graph:
    """Nodes, and after them bends, in layers. Links of one node share their bends, so that they part late."""

    def __init__(self, sizes: Sequence[Point], links: Iterable[Link]) -> None:
        self.sizes = list(sizes)
        self.links = list(dict.fromkeys(links))
        self.layer_of = _layers(len(self.sizes), self.links)
        self.layers: list[list[int]] = [[] for _ in range(max(self.layer_of, default=-1) + 1)]
        for node, layer in enumerate(self.layer_of):
            self.layers[layer].append(node)
        self.routes: dict[Link, list[int]] = {}
        self.before: list[list[int]] = [[] for _ in self.sizes]
        self.after: list[list[int]] = [[] for _ in self.sizes]
        self._bends: dict[Link, int] = {}
        for link in self.links:
            self._add(link)

    def _add(self, link: Link) -> None:
        upstream, downstream = link
        passed = range(self.layer_of[upstream] + 1, self.layer_of[downstream])
        bent = len(passed) < LONGEST_BENT_EDGE
        self.routes[link] = [upstream, *(self._bend(upstream, layer) for layer in passed if bent), downstream]
        if bent:
            for left, right in itertools.pairwise(self.routes[link]):
                if right not in self.after[left]:
                    self.after[left].append(right)
                    self.before[right].append(left)

    def _bend(self, node: int, layer: int) -> int:
        if (node, layer) not in self._bends:
            bend = self._bends[node, layer] = len(self.sizes)
            self.sizes.append((0.0, 0.0))
            self.layer_of.append(layer)
            self.layers[layer].append(bend)
            self.before.append([])
            self.after.append([])
        return self._bends[node, layer]


def arrange(sizes: Sequence[Point], links: Iterable[Link], label_widths: Sequence[float]) -> Layout:
    """Place nodes of these widths and heights; links are pairs of their indices, without a cycle.

    `label_widths` has a width for each node: the room that the labels of the links to it need.
    """
    graph = _Graph(sizes, links)
    _order(graph)
    middles = _positions(graph)
    top = min((y - height / 2 for y, (_, height) in zip(middles, graph.sizes, strict=True)), default=0)
    middles = [y - top for y in middles]
    columns = _columns(graph, middles, label_widths)
    centres = [left + width / 2 for left, width in columns]
    return Layout(
        places=[(centres[graph.layer_of[node]], middles[node]) for node in range(len(sizes))],
        routes={link: _points(graph, route, middles, columns) for link, route in graph.routes.items()},
        width=sum(columns[-1]) if columns else 0,
        height=max((y + height / 2 for y, (_, height) in zip(middles, graph.sizes, strict=True)), default=0),
    )


def _layers(count: int, links: Sequence[Link]) -> list[int]:
    """Return each node's layer: as far left as can be, but next to what needs it if it needs less itself."""
    before: list[list[int]] = [[] for _ in range(count)]
    after: list[list[int]] = [[] for _ in range(count)]
    for upstream, downstream in links:
        before[downstream].append(upstream)
        after[upstream].append(downstream)
    order = list(TopologicalSorter(dict(enumerate(before))).static_order())
    layers = [0] * count
    for node in order:
        layers[node] = max((layers[each] + 1 for each in before[node]), default=0)
    for node in reversed(order):
        if len(after[node]) > len(before[node]):
            layers[node] = min(layers[each] for each in after[node]) - 1
    return layers


def _order(graph: _Graph) -> None:
    """Order each layer by the mean place of its neighbours in the one before or after; keep the best of the tries."""
    best, fewest = graph.layers, None
    for sweep in range(ORDER_SWEEPS):
        rightwards = sweep % 2 == 0
        layers = graph.layers if rightwards else graph.layers[::-1]
        neighbours = graph.before if rightwards else graph.after
        place = _place(graph)
        for layer in layers:
            wanted = {
                each: sum(place[other] for other in neighbours[each]) / len(neighbours[each])
                if neighbours[each]
                else place[each]
                for each in layer
            }
            layer.sort(key=wanted.__getitem__)
            place.update((each, index) for index, each in enumerate(layer))
        crossings = _crossings(graph)
        if fewest is None or crossings < fewest:
            best, fewest = [list(layer) for layer in graph.layers], crossings
        if fewest == 0:
            break
    graph.layers = best


def _place(graph: _Graph) -> dict[int, int]:
    return {each: index for layer in graph.layers for index, each in enumerate(layer)}


def _crossings(graph: _Graph) -> int:
    place, total = _place(graph), 0
    for layer in graph.layers:
        ends: list[int] = []
        for each in layer:
            targets = sorted(place[other] for other in graph.after[each])
            total += sum(len(ends) - bisect.bisect_right(ends, target) for target in targets)
            for target in targets:
                bisect.insort(ends, target)
    return total


def _positions(graph: _Graph) -> list[float]:
    """Return the heights of nodes and bends: near their neighbours, in the layer's order, without overlaps."""
    middles = [0.0] * len(graph.sizes)
    gaps = [_gaps(graph, layer) for layer in graph.layers]
    for layer, offsets in zip(graph.layers, gaps, strict=True):
        for each, offset in zip(layer, offsets, strict=True):
            middles[each] = offset - offsets[-1] / 2
    for sweep in range(POSITION_SWEEPS):
        sides = (
            [graph.before, graph.after] if sweep >= POSITION_SWEEPS - 4 else [(graph.before, graph.after)[sweep % 2]]
        )
        layers = list(zip(graph.layers, gaps, strict=True))
        for layer, offsets in layers if sweep % 2 == 0 else reversed(layers):
            wanted, weights = zip(*(_pull(graph, each, sides, middles) for each in layer), strict=True)
            for each, middle in zip(layer, _spread(wanted, weights, offsets), strict=True):
                middles[each] = middle
    return middles


def _gaps(graph: _Graph, layer: Sequence[int]) -> list[float]:
    """Return how far below the layer's first each must at least lie."""
    offsets = [0.0]
    for above, below in itertools.pairwise(layer):
        heights = graph.sizes[above][1] + graph.sizes[below][1]
        offsets.append(offsets[-1] + heights / 2 + (NODE_SPACE if heights else BEND_SPACE))
    return offsets


def _pull(graph: _Graph, each: int, sides: Sequence[list[list[int]]], middles: Sequence[float]) -> Point:
    """Return where the neighbours want it to be, and how much; bends want to be in line most."""
    total = weights = 0.0
    for side in sides:
        for other in side[each]:
            weight = 1.0 if graph.sizes[each][1] and graph.sizes[other][1] else 4.0
            total += weight * middles[other]
            weights += weight
    return (total / weights, weights) if weights else (middles[each], 0.01)


def _spread(wanted: Sequence[float], weights: Sequence[float], offsets: Sequence[float]) -> list[float]:
    """Return the places nearest to the wanted ones that keep the gaps: isotonic regression by pooling neighbours."""
    blocks: list[tuple[float, float, int]] = []  # mean, weight, members
    for want, weight, offset in zip(wanted, weights, offsets, strict=True):
        mean, members = want - offset, 1
        while blocks and blocks[-1][0] >= mean:
            other, heavy, count = blocks.pop()
            mean = (other * heavy + mean * weight) / (heavy + weight)
            weight, members = weight + heavy, members + count  # noqa: PLW2901 - the block grows
        blocks.append((mean, weight, members))
    means = itertools.chain.from_iterable(itertools.repeat(mean, members) for mean, _, members in blocks)
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]


def _columns(graph: _Graph, middles: Sequence[float], label_widths: Sequence[float]) -> list[Column]:
    """Return where each layer begins and how wide it is; labels and steep edges get more space before it."""
    columns: list[Column] = []
    for layer in graph.layers:
        room = max((label_widths[node] for node in layer if node < len(label_widths)), default=0)
        steepest = max(
            (abs(middles[each] - middles[other]) for each in layer for other in graph.before[each]), default=0
        )
        space = LAYER_SPACE + room + min(steepest / 6, STEEP_LAYER_SPACE)
        width = max((graph.sizes[each][0] for each in layer), default=0)
        columns.append((sum(columns[-1]) + space if columns else 0, width))
    return columns


def _points(graph: _Graph, route: Sequence[int], middles: Sequence[float], columns: Sequence[Column]) -> list[Point]:
    """Return a route's points: the right of its first node, both sides of each layer passed, the last node's left."""
    points: list[Point] = []
    for each in route:
        left, width = columns[graph.layer_of[each]]
        half = (graph.sizes[each][0] or width) / 2
        middle = left + width / 2
        points += [(middle - half, middles[each]), (middle + half, middles[each])]
    return points[1:-1]
