"""The kinds of flow that a run can execute: one module each, chosen by the type of what the target names."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

from dask_flow.core import Flow

if TYPE_CHECKING:
    from distributed import Client

RESULT_KEY = "dask-flow-result"
"""The name of the tasks that make short texts of results, on the workers that hold them."""

__all__ = ["RESULT_KEY", "Adapter", "FlowResult", "adapter_for", "name_of", "short"]


@dataclasses.dataclass(frozen=True)
class FlowResult:
    """What a flow came to: its results by name, each a short text, or the errors of the tasks that failed."""

    results: Mapping[str, str]
    errors: Mapping[str, BaseException] = dataclasses.field(default_factory=dict)
    skipped: tuple[str, ...] = ()


class Adapter(Protocol):
    """One kind of flow."""

    def check(self, flow: Any, params: Mapping[str, Any]) -> None:
        """Raise InputError if the flow cannot run with these parameters; starts nothing."""

    def run(self, flow: Any, client: Client, params: Mapping[str, Any]) -> FlowResult:
        """Run the flow on the client's cluster and wait for it."""


def adapter_for(flow: Any) -> Adapter:
    """Return the adapter for this flow's kind."""
    kind = "dag" if isinstance(flow, Flow) else "function"
    return cast("Adapter", importlib.import_module(f"dask_flow.flows.{kind}"))


def name_of(flow: Any) -> str:
    """Return the flow's name: a Flow's own, a function's, or its type's."""
    return str(getattr(flow, "name", None) or getattr(flow, "__name__", type(flow).__name__))


def short(value: Any, limit: int = 4000) -> str:
    """Return a text as it is, and anything else by its repr, no longer than `limit` characters."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text):,} characters in all)"
