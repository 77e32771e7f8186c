"""Random flows as plain data, how to build them, and a model of what becomes of them."""

import zlib
from datetime import timedelta
from typing import Any, NamedTuple

from harness import plain
from hypothesis import strategies as st

OUTCOMES = ("value", "value", "value", "list", "raise", "skip", "fail", "success", "retry")
LISTS = ("list", "list", "raise", "skip")  # what one that is mapped over comes to


class Link(NamedTuple):
    """A dependency on the task with this number."""

    upstream: int
    data: bool
    mapped: bool
    flattened: bool


class Node(NamedTuple):
    """A task; `length` is that of the list it is mapped over, None if plain. Child i has outcome i, cyclically.

    `batch` is dask_flow's own: how many children make one call.
    """

    links: tuple[Link, ...]
    trigger: str
    skip_on_upstream_skip: bool
    outcomes: tuple[str, ...]
    length: int | None
    batch: int | None


@st.composite
def flows(draw, most_tasks=12):
    """Draw a flow's nodes, each of which depends on some of those before it."""
    nodes = []
    for number in range(draw(st.integers(1, most_tasks))):
        before = draw(st.lists(st.integers(0, number - 1), unique=True, max_size=3)) if number else []
        length = draw(st.none() | st.none() | st.integers(0, 4))
        links = tuple(_link(draw, each, nodes[each], mapped=length is not None) for each in before)
        kinds = LISTS if length is None and draw(st.integers(0, 3)) == 0 else OUTCOMES
        outcomes = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=1 if length is None else 3))
        trigger = draw(st.just("all_successful") | st.sampled_from(sorted(TRIGGERS)))
        skips = draw(st.booleans())
        batch = None if length is None else draw(st.sampled_from([None, 1, 2]))
        nodes.append(Node(links, trigger, skips, tuple(outcomes), length, batch))
    return nodes


def _link(draw, number, upstream, *, mapped):
    data = draw(st.booleans())
    has_items = upstream.length is not None
    over = mapped and (has_items or set(upstream.outcomes) <= set(LISTS)) and draw(st.booleans())
    return Link(number, data, over, data and has_items and draw(st.integers(0, 2)) == 0)


def build(lib, nodes):
    """Return the flow of these nodes, made with this library, and its tasks in their order."""
    tasks = []
    with lib.Flow("random") as flow:
        for number, node in enumerate(nodes):
            options = {"max_retries": 1, "retry_delay": timedelta(0)} if "retry" in node.outcomes else {}
            if node.batch and lib.name == "dask_flow":
                options["batch"] = node.batch
            task = lib.task(
                _work(lib, f"t{number}", node.outcomes),
                name=f"t{number}",
                trigger=_trigger(lib, node.trigger),
                skip_on_upstream_skip=node.skip_on_upstream_skip,
                **options,
            )
            tasks.append(_call(lib, task, node, tasks))
    return flow, tasks


def _call(lib, task, node, tasks):
    mapped = node.length is not None

    def argument(link):
        upstream = tasks[link.upstream]
        upstream = lib.flatten(upstream) if link.flattened else upstream
        return lib.unmapped(upstream) if mapped and not link.mapped else upstream

    arguments = {f"x{link.upstream}": argument(link) for link in node.links if link.data}
    order = [argument(link) for link in node.links if not link.data]
    if mapped:
        return task.map(item=list(range(node.length)), upstream_tasks=order, **arguments)
    return task(upstream_tasks=order, **arguments)


def _trigger(lib, text):
    name, _, bound = text.partition(" ")
    trigger = getattr(lib.triggers, name)
    if not bound:
        return trigger
    key, value = bound.split("=")
    return trigger(**{key: float(value)})


def _work(lib, name, outcomes):
    def work(**inputs):
        outcome = outcomes[(lib.context.get("map_index") or 0) % len(outcomes)]
        value = digest(name, {key: plain(item) for key, item in inputs.items()})
        if outcome == "raise" or (outcome == "retry" and lib.context.task_run_count == 1):
            raise ValueError(name)
        if outcome == "skip":
            raise lib.signals.SKIP(name)
        if outcome == "fail":
            raise lib.signals.FAIL(name, result=value)
        if outcome == "list":
            return [value, 0]
        if outcome == "success":
            raise lib.signals.SUCCESS(name, result=value)
        return value

    return work


def digest(name, texts):
    """Return a number that tells the inputs, given as texts."""
    return zlib.crc32(repr((name, sorted(texts.items()))).encode())


class Outcome(NamedTuple):
    """A task's final state, its result as text, and the outcomes of its children if it is mapped.

    `items` are the texts of the items of a result that is a list.
    """

    state: str
    result: str = "None"
    children: tuple[Any, ...] | None = None
    items: tuple[str, ...] | None = None

    @property
    def parts(self):
        """The states that this one stands for."""
        return [self] if self.children is None else list(self.children)

    @property
    def failed(self):
        return self.state in {"Failed", "TriggerFailed"}

    @property
    def shown(self):
        """What a state shows of it."""
        children = None if self.children is None else tuple(child.shown for child in self.children)
        return Outcome(self.state, self.result, children)


def _mapped(children):
    children = tuple(children)
    return Outcome("Mapped", f"[{', '.join(child.result for child in children)}]", children)


def _flattened(outcome):
    """Return a mapped outcome with the items of the children in place of those that have some."""
    if outcome.children is None:
        return outcome
    each_items = ([child] if child.items is None else map(_success, child.items) for child in outcome.children)
    return _mapped(child for children in each_items for child in children)


def _success(text):
    return Outcome("Success", text)


class Counts(NamedTuple):
    """How many upstream states are successful (skipped ones too), failed and skipped."""

    good: int
    bad: int
    skipped: int


# Whether a task with at least one upstream runs.
TRIGGERS = {
    "all_successful": lambda counts: not counts.bad,
    "all_failed": lambda counts: not counts.good,
    "any_successful": lambda counts: counts.good > 0,
    "any_failed": lambda counts: counts.bad > 0,
    "all_finished": lambda _: True,
    "always_run": lambda _: True,
    "not_all_skipped": lambda counts: not counts.bad,
    "some_failed at_least=1": lambda counts: counts.bad >= 1,
    "some_successful at_most=0.5": lambda counts: counts.good <= (counts.good + counts.bad) / 2,
}
MESSAGES = {
    "all_successful": "but some of the upstream tasks failed.",
    "all_failed": "but some of the upstream tasks succeeded.",
    "any_successful": "but none of the upstream tasks succeeded.",
    "any_failed": "but none of the upstream tasks failed.",
    "not_all_skipped": "but some of the upstream tasks failed.",
    "some_failed": "but thresholds were not met.",
    "some_successful": "but thresholds were not met.",
}


def model(nodes):
    """Return the state of the flow and the outcome of each node."""
    outcomes = []
    for number, node in enumerate(nodes):
        upstreams = [(link, _seen(link, outcomes[link.upstream])) for link in node.links]
        outcomes.append(
            _plain_outcome(number, node, upstreams) if node.length is None else _mapped_outcome(number, node, upstreams)
        )
    terminal = set(range(len(nodes))) - {link.upstream for node in nodes for link in node.links}
    failed = any(part.failed for number in terminal for part in outcomes[number].parts)
    return "Failed" if failed else "Success", [outcome.shown for outcome in outcomes]


def _seen(link, outcome):
    return _flattened(outcome) if link.flattened else outcome


def _mapped_outcome(number, node, upstreams):
    seen = [part for link, each in upstreams for part in ([each] if link.mapped else each.parts)]
    if node.skip_on_upstream_skip and any(each.state == "Skipped" for each in seen):
        return Outcome("Skipped")
    if any(link.mapped and each.state == "Skipped" for link, each in upstreams):
        return Outcome("Failed")  # its result, None, has no items
    over = [each.items if each.children is None else each.children for link, each in upstreams if link.mapped]
    lengths = [len(each) for each in over if each is not None]
    children = []
    for index in range(min([node.length, *lengths])):
        before = [(link, _item(each, index) if link.mapped else each) for link, each in upstreams]
        children.append(_plain_outcome(number, node, before, index))
    return _mapped(children)


def _item(outcome, index):
    if outcome.children is not None:
        return outcome.children[index]
    return Outcome(outcome.state) if outcome.items is None else _success(outcome.items[index])


def _plain_outcome(number, node, upstreams, index=None):
    parts = [part for _, each in upstreams for part in each.parts]
    inputs = {f"x{link.upstream}": each.result for link, each in upstreams if link.data}
    if index is not None:
        parts.append(Outcome("Success"))
        inputs["item"] = repr(index)
    counts = _counts(parts)
    all_skipped = node.trigger == "not_all_skipped" and counts.skipped == len(parts)
    if all_skipped or (counts.skipped and node.skip_on_upstream_skip):
        return Outcome("Skipped")
    if (upstreams or index is not None) and not TRIGGERS[node.trigger](counts):
        name = node.trigger.partition(" ")[0]
        return Outcome("TriggerFailed", f'raised TRIGGERFAIL(Trigger was "{name}" {MESSAGES[name]})')
    return _ran(f"t{number}", node.outcomes[(index or 0) % len(node.outcomes)], inputs)


def _counts(parts):
    bad = sum(part.failed for part in parts)
    return Counts(len(parts) - bad, bad, sum(part.state == "Skipped" for part in parts))


def _ran(name, outcome, inputs):
    if outcome == "raise":
        return Outcome("Failed", f"raised ValueError({name})")
    if outcome == "skip":
        return Outcome("Skipped", f"raised SKIP({name})")
    text = repr(digest(name, inputs))
    if outcome == "fail":
        return Outcome("Failed", text)
    items = (text, "0") if outcome == "list" else None
    return Outcome("Success", f"[{text}, 0]" if items else text, None, items)


def outcome_of(state):
    """Return the outcome that a state shows."""
    children = tuple(map(outcome_of, state.map_states)) if state.is_mapped() else None
    return Outcome(type(state).__name__, plain(state.result), children)
