"""Operators of Python on tasks, under Prefect's names."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, Self

from dask_flow.core.task import Task

__all__ = ["Operator"]


def _and(x: Any, y: Any) -> Any:
    return x and y


def _or(x: Any, y: Any) -> Any:
    return x or y


OPERATORS: dict[str, Callable[..., Any]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "Div": operator.truediv,
    "FloorDiv": operator.floordiv,
    "Mod": operator.mod,
    "Pow": operator.pow,
    "And": _and,
    "Or": _or,
    "Not": operator.not_,
    "Equal": operator.eq,
    "NotEqual": operator.ne,
    "GreaterThan": operator.gt,
    "GreaterThanOrEqual": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqual": operator.le,
    "GetItem": operator.getitem,
}


class Operator(Task):
    """Applies an operator to results."""

    def __init__(self, name: str) -> None:
        self.operator = OPERATORS[name]
        super().__init__(name)

    @property
    def callee(self) -> Callable[..., Any]:
        """What a worker calls."""
        return self.operator

    @classmethod
    def named(cls, name: str, operands: Sequence[Any]) -> Self:
        """Return the operator of this name; one that takes an item has the item's name too."""
        new = cls(name)
        if name == "GetItem" and isinstance(operands[0], Task):
            key = operands[1].name if isinstance(operands[1], Task) else repr(operands[1])
            new.name = f"{operands[0].name}[{key}]"
        return new
