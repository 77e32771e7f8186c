"""Find the flow that a target names: `file.py[:name]` or `package.module[:name]`."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from dask_flow import declarations
from dask_flow.core import Flow, Task
from dask_flow.errors import DaskFlowError, InputError

__all__ = ["Loaded", "load"]


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A flow, and the modules whose code workers do not have."""

    flow: Any
    modules: tuple[ModuleType, ...]


def load(target: str) -> Loaded:
    """Import what `target` names and find the flow in it.

    A module's own files are those in its folder; they travel by value unless they are installed packages.
    Raises InputError: no such file, module or name, several candidates, or an error in the file, with its line.
    """
    source, _, name = target.partition(":")
    file = source.endswith(".py") or "/" in source
    if not file and Path(source).exists():
        raise InputError(f"{source} is neither a Python file nor a module; a file's name must end in .py")
    known = set(sys.modules)
    module = _import_file(Path(source)) if file else _import_module(source)
    flow = getattr(module, name, None) if name else _only_flow(module, source)
    if flow is None:
        raise InputError(f"{source} has no {name!r}{_suggest(name, dir(module), _candidates(module))}")
    if isinstance(flow, Task) or not (isinstance(flow, Flow) or callable(flow)):
        raise InputError(f"{target} is of type {type(flow).__name__}, which is neither a flow nor a function")
    return Loaded(flow, tuple(_own_modules(module, set(sys.modules) - known)))


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else Path()
        raise InputError(f"no such file: {path}{_suggest(path.name, [], [each.name for each in folder.glob('*.py')])}")
    path = path.absolute()
    name = path.stem if path.stem not in sys.modules and path.stem.isidentifier() else f"flow_file_{abs(hash(path))}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is not a Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent))
    try:
        with declarations.relative_to(path.parent), _input_errors(str(path)):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _import_module(name: str) -> ModuleType:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    with _input_errors(name):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise
            raise InputError(
                f"no module named {name!r}; for a file, give its path with .py, such as ./{name}.py"
            ) from error


@contextmanager
def _input_errors(source: str) -> Iterator[None]:
    """Turn whatever the flow's own code raises while it is imported into one sentence with its file and line."""
    try:
        yield
    except DaskFlowError as error:
        raise InputError(f"{_place(error, source)}: {error}") from error
    except SyntaxError as error:
        raise InputError(f"{error.filename}:{error.lineno}: syntax error: {error.msg}") from error
    except ModuleNotFoundError as error:
        ours = str(error.name).startswith("dask_flow.")
        hint = "dask-flow has no such part" if ours else "add it to the image that runs the flow"
        raise InputError(f"{_place(error, source)}: no module named {error.name!r}; {hint}") from error
    except (Exception, SystemExit) as error:
        raise InputError(f"{_place(error, source)}: {type(error).__name__}: {error}") from error


def _place(error: BaseException, source: str) -> str:
    trace, place = error.__traceback__, source
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file == source or Path(file).parent == Path(source).parent:
            place = f"{file}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def _only_flow(module: ModuleType, source: str) -> Any:
    """Return the only Flow of the module; if it has none, its function `main`, or its only function."""
    candidates = _candidates(module)
    if len(candidates) > 1 and "main" in candidates and not isinstance(module.main, Flow):
        candidates = ["main"]
    if len(candidates) > 1:
        listed = ", ".join(f"{source}:{name}" for name in candidates)
        raise InputError(f"{source} has several candidates; name one of them: {listed}")
    if not candidates:
        raise InputError(f"{source} has nothing to run; define a dask_flow.Flow or a function in it")
    return getattr(module, candidates[0])


def _candidates(module: ModuleType) -> list[str]:
    """Return the names of the module's flows, or if it has none, of the functions that it defines."""
    flows = {id(value): name for name, value in vars(module).items() if isinstance(value, Flow)}
    return list(flows.values()) or [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and callable(value) and getattr(value, "__module__", None) == module.__name__
        if not isinstance(value, type | Task)
    ]


def _own_modules(module: ModuleType, new: Iterable[str]) -> list[ModuleType]:
    file = getattr(module, "__file__", None)
    if file is None or _installed(file):
        return []
    package = sys.modules.get(module.__name__.partition(".")[0], module)
    folder = Path(getattr(package, "__file__", None) or file).parent
    modules = (sys.modules[name] for name in new if name in sys.modules)
    beside = [each for each in modules if _is_beside(each, folder)]
    return beside if module in beside else [module, *beside]


def _is_beside(module: ModuleType, folder: Path) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and folder in Path(file).parents and not _installed(file)


def _installed(file: str) -> bool:
    return bool({"site-packages", "dist-packages"}.intersection(Path(file).parts)) or file.startswith(
        str(Path(importlib.__file__).parents[1])
    )


def _suggest(name: str, others: list[str], candidates: list[str]) -> str:
    close = difflib.get_close_matches(name, [*candidates, *others], n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there is {', '.join(sorted(candidates)[:10])}" if candidates else ""
