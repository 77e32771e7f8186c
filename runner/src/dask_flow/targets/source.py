"""What a Python file says of itself, read without running it: whether it is a script, and what it imports."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator
from functools import cached_property

from dask_flow.errors import InputError

__all__ = ["Source", "imports"]

FLOW_PACKAGES = frozenset({"dask_flow", "prefect"})
# What only code does that works with Dask on its own account.
DASK_CALLS = frozenset({"Client", "LocalCluster", "compute", "persist"})
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


@dataclasses.dataclass(frozen=True)
class Source:
    """The text of a Python file, and where it is from: a path, or a URL."""

    text: str
    where: str

    @cached_property
    def tree(self) -> ast.Module:
        """The text's syntax tree. Raises InputError for a syntax error, with its line."""
        try:
            return ast.parse(self.text, self.where)
        except SyntaxError as error:
            raise InputError(f"{self.where}:{error.lineno}: syntax error: {error.msg}") from error
        except ValueError as error:
            raise InputError(f"{self.where} is not Python: {error}") from error

    @cached_property
    def guarded(self) -> bool:
        """Whether the file has a block `if __name__ == "__main__":`."""
        return any(isinstance(each, ast.If) and _compares_name(each.test) for each in self.tree.body)

    def first_imports(self) -> Iterator[tuple[str, int]]:
        """Yield what the first statements import, before any other could make it importable, each with its line."""
        for node in self.tree.body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield from ((name, node.lineno) for name in _imported_by(node))
            elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
                return

    @cached_property
    def imports_flows(self) -> bool:
        """Whether the module level imports dask_flow or Prefect, of which flows are made."""
        return any(
            name.partition(".")[0] in FLOW_PACKAGES for node in _module_level(self.tree) for name in _imported_by(node)
        )

    def why_script(self) -> str | None:
        """Return why the file is a script, or None if it is not: then it is imported, and holds what to run.

        What imports dask_flow or Prefect is none: it holds a flow. Else these make a script, and the first found says
        so: a `__main__` block; and at the module level a call of `main` or of the only function, a call that works
        with Dask, a statement that calls one of several functions, or any call in a file without functions.
        Raises InputError for a file with a function `main` and module-level code that works with Dask without it.
        """
        if self.imports_flows:
            return None
        if self.guarded:
            return 'it has a block `if __name__ == "__main__"`'
        functions = self._functions()
        called = {_callee(each): each.lineno for each in reversed(list(self._module_calls()))}
        chosen = "main" if "main" in functions else functions[0] if len(functions) == 1 else None
        if chosen in called:
            return f"line {called[chosen]} calls {chosen}()"
        dask = next((name for name in called if name in DASK_CALLS), None)
        if dask and chosen == "main":
            raise InputError(
                f"{self.where} has a function main, and its line {called[dask]} calls {dask}() outside of it; name "
                f"{self.where}:main for the function, or {self.where}:__main__ to run the file as a script"
            )
        if dask:
            return f"line {called[dask]} calls {dask}() outside of any function"
        if chosen:
            return None
        working = self._called_statements() & set(functions) if functions else called
        return (
            f"line {called[min(working, key=called.__getitem__)]} does work outside of any function"
            if working
            else None
        )

    def _functions(self) -> list[str]:
        """Return the names of the public functions of the module level."""
        kinds = ast.FunctionDef | ast.AsyncFunctionDef
        names = (node.name for node in _module_level(self.tree) if isinstance(node, kinds))
        return list(dict.fromkeys(name for name in names if not name.startswith("_")))

    def _module_calls(self) -> Iterator[ast.Call]:
        return (node for node in _module_level(self.tree) if isinstance(node, ast.Call))

    def _called_statements(self) -> set[str]:
        """Return what the module level calls without keeping the value: what that does is what it is there for."""
        statements = (node for node in _module_level(self.tree) if isinstance(node, ast.Expr))
        return {_callee(each) for node in statements for each in ast.walk(node) if isinstance(each, ast.Call)}


def imports(tree: ast.Module) -> Iterator[str]:
    """Yield the dotted names of all that the code may import, in functions too; of `from a import b` also `a.b`."""
    for node in ast.walk(tree):
        yield from _imported_by(node)


def _imported_by(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (each.name for each in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module
        yield from (f"{node.module}.{each.name}" for each in node.names)
    elif isinstance(node, ast.Call) and _callee(node) in {"import_module", "__import__"} and node.args:
        name = node.args[0]
        if isinstance(name, ast.Constant) and isinstance(name.value, str):
            yield name.value


def _module_level(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield what is outside of functions and classes; these themselves, but not what is in them."""
    waiting: list[ast.AST] = list(reversed(tree.body))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, SCOPES):
            waiting.extend(reversed(list(ast.iter_child_nodes(node))))


def _callee(call: ast.Call) -> str:
    """Return the last part of what is called: `Client` of `distributed.Client()`."""
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _compares_name(test: ast.expr) -> bool:
    return any(
        isinstance(node, ast.Compare)
        and {"__name__", "__main__"} <= {getattr(each, "id", getattr(each, "value", None)) for each in _sides(node)}
        for node in ast.walk(test)
    )


def _sides(comparison: ast.Compare) -> list[ast.expr]:
    return [each for each in (comparison.left, *comparison.comparators) if isinstance(each, ast.Name | ast.Constant)]
