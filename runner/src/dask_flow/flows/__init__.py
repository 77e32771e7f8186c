"""The kinds of flow that a run can execute: one module each, chosen by the type of what the target names."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

from dask_flow.core import Flow
from dask_flow.text import printable

if TYPE_CHECKING:
    from distributed import Client

HIDDEN = "dask-flow-"
"""How the names of Dask tasks begin that are the runner's own, such as those that make short texts of results."""

# What other classes of flows are called, Prefect 2's as Prefect 3's: none of them is imported to find out.
FLOW_CLASSES = {
    ("prefect.flows", "Flow"): "prefect3",
    ("prefect.core.flow", "Flow"): "prefect1",
    ("dask_flow.flows.script", "Script"): "script",
}

__all__ = ["HIDDEN", "Adapter", "Counts", "FlowResult", "adapter_for", "kind_of", "name_of", "short"]


@dataclasses.dataclass(frozen=True)
class Counts:
    """Of a Flow's tasks of a name: how many failed, and how often one was tried again.

    `items` is how many items there were, of those that were computed several at a time; `failed` and `retries` then
    count items.
    """

    items: int = 0
    failed: int = 0
    retries: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.items + other.items, self.failed + other.failed, self.retries + other.retries)


@dataclasses.dataclass(frozen=True)
class FlowResult:
    """What a flow came to: its results by name, each a short text, or the errors of the tasks that failed."""

    results: Mapping[str, str]
    errors: Mapping[str, BaseException] = dataclasses.field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    logged: bool = False
    """Whether the errors are in the log already."""
    counts: Mapping[str, Counts] = dataclasses.field(default_factory=dict)
    """By the tasks' name that Dask shows."""
    state: Any = None
    """The state of a Flow's run, for its picture."""


class Adapter(Protocol):
    """One kind of flow."""

    def check(self, flow: Any, params: Mapping[str, Any]) -> None:
        """Raise InputError if the flow cannot run with these parameters; starts nothing."""

    def run(self, flow: Any, client: Client, params: Mapping[str, Any]) -> FlowResult:
        """Run the flow on the client's cluster and wait for it."""


def kind_of(value: Any) -> str | None:
    """Tell by its type what kind of flow a value is: "dag", "prefect3", "prefect1", "script", or None."""
    if isinstance(value, Flow):
        return "dag"
    names = ((each.__module__, each.__qualname__) for each in type(value).__mro__)
    return next((FLOW_CLASSES[name] for name in names if name in FLOW_CLASSES), None)


def adapter_for(flow: Any) -> Adapter:
    """Return the adapter for this flow's kind."""
    return cast("Adapter", importlib.import_module(f"dask_flow.flows.{kind_of(flow) or 'function'}"))


def name_of(flow: Any) -> str:
    """Return the flow's name: a Flow's own, a function's, or its type's."""
    return str(getattr(flow, "name", None) or getattr(flow, "__name__", type(flow).__name__))


def short(value: Any, limit: int = 4000) -> str:
    """Return a text as it is, and anything else by its repr, no longer than `limit` characters."""
    return printable(value, limit)
