"""Find what a target names: `file.py[:name]`, `package.module[:name]`, or a URL of such a file."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.util
import linecache
import logging
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from dask_flow import declarations
from dask_flow.core import Task
from dask_flow.errors import InputError, NoModuleError
from dask_flow.flows import kind_of
from dask_flow.flows.script import Script
from dask_flow.run_context import context
from dask_flow.targets.import_errors import input_errors, logged_warnings, missing, suggestion
from dask_flow.targets.own_files import installed, own_files
from dask_flow.targets.source import Source, imports
from dask_flow.targets.urls import fetch, is_url, shown

__all__ = ["Loaded", "Shipment", "load", "shipment"]

log = logging.getLogger(__name__)

SCRIPT = "__main__"


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A flow, a function or a script, and its own code, which workers do not have.

    `modules` are imported already; `files`, by their paths below `folder`, are what it may import yet.
    """

    flow: Any
    modules: tuple[ModuleType, ...] = ()
    folder: Path | None = None
    files: Mapping[str, Path] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Shipment:
    """A target as it is called elsewhere, in a folder that has these files by their paths below it.

    There are none for a URL, and for a module that is installed, or not here at all.
    """

    target: str
    files: Mapping[str, Path] = dataclasses.field(default_factory=dict)
    is_module: bool = False


@dataclasses.dataclass(frozen=True)
class _Code:
    """Python code that a target names. `folder` is where its neighbours are imported from; it has none from a URL.

    `module` is the name to import it by, `source` its text; a package has none, and is no script.
    """

    where: str
    folder: Path | None
    source: Source | None
    module: str | None = None


def load(target: str, args: tuple[str, ...] = ()) -> Loaded:
    """Import what `target` names and find the flow in it, or read the script, which is not executed yet.

    Which it is without a name: `Source.why_script` says what is a script, by the source alone; of what is imported it
    is the only flow, and if there is none, the function `main` or the only function. `:__main__` always means a script.
    A module's own files are those in its folder; they come along to workers unless they are installed packages.
    Raises InputError: no such file, module or name, several candidates, an error in the file, with its line, or `args`
    for what is no script.
    """
    where, name = _split(target)
    known = set(sys.modules)
    with logged_warnings():
        code = _from_url(where) if is_url(where) else _from_file(Path(where)) if _is_file(where) else _module(where)
        flow, module = _found(code, name, args)
    if args and not isinstance(flow, Script):
        raise InputError(
            f"--arg is for scripts, and {code.where} is none; give --param NAME=VALUE, or name {code.where}:{SCRIPT} "
            "to run it as a script"
        )
    return Loaded(flow, tuple(_own_modules(code, module, set(sys.modules) - known)), code.folder, _files(code))


def shipment(target: str) -> Shipment:
    """Return what to take along to run the target elsewhere; nothing is imported.

    Raises InputError: no such file, a syntax error, or too many files.
    """
    where, name = _split(target)
    if is_url(where) and not where.startswith("file://"):
        return Shipment(target)
    is_file = is_url(where) or _is_file(where)
    try:
        code = _from_file(Path(where.removeprefix("file://"))) if is_file else _module(where)
    except NoModuleError:
        return Shipment(target, is_module=True)
    if code.module:
        files = dict(own_files([code.module], code.folder)) if code.folder else {}
    else:
        path = Path(code.where)
        files, where = {**_files(code), path.name: path}, path.name
    return Shipment(f"{where}:{name}" if name else where, files, is_module=not is_file)


def _found(code: _Code, name: str, args: tuple[str, ...]) -> tuple[Any, ModuleType | None]:
    """Return the flow, and the module that was imported for it; a script is not."""
    reason = code.source.why_script() if code.source and not name else None
    if reason:
        log.info("%s is run as a script: %s", code.where, reason)
    if reason or name == SCRIPT:
        return _script(code, args), None
    module = _imported(code)
    flow = getattr(module, name, None) if name else _only_flow(module, code)
    if flow is None and not name:
        log.info("%s is run as a script: it has a `__main__` block, and no flow", code.where)
        return _script(code, args), None
    if flow is None:
        raise InputError(f"{code.where} has no {name!r}{_suggest(name, dir(module), _candidates(module))}")
    if kind_of(flow) is None and (isinstance(flow, Task) or not callable(flow)):
        kind = type(flow).__name__
        raise InputError(f"{code.where}:{name} is of type {kind}, which is neither a flow nor a function")
    return flow, module


def _split(target: str) -> tuple[str, str]:
    """Split the name off; other colons are of a URL's scheme, port or query."""
    if is_url(target):
        found = re.fullmatch(r"(.+\.py(?:\?.*)?):([A-Za-z_]\w*)", target)
        return (found[1], found[2]) if found else (target, "")
    where, _, name = target.partition(":")
    return where, name


def _is_file(where: str) -> bool:
    if where.endswith(".py") or "/" in where or where.startswith("."):
        return True
    if Path(where).is_file():
        raise InputError(f"{where} is neither a Python file nor a module; a file's name must end in .py")
    return False


def _from_url(url: str) -> _Code:
    """Download a file. Its code is named by the URL wherever that is shown; nothing is written to disk."""
    if url.startswith("file://"):
        return _from_file(Path(url.removeprefix("file://")))
    where = shown(url)
    if not where.endswith(".py"):
        raise InputError(f"{where} is not a Python file; its name must end in .py")
    text = fetch(url)
    linecache.cache[where] = (len(text), None, text.splitlines(keepends=True), where)  # for tracebacks
    return _Code(where, None, Source(text, where))


def _from_file(path: Path) -> _Code:
    if path.is_dir():
        there = _suggest("", [], [each.name for each in path.glob("*.py")])
        raise InputError(f"{path} is a folder; name a .py file in it, or a module by its name{there}")
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else Path()
        raise InputError(f"no such file: {path}{_suggest(path.name, [], [each.name for each in folder.glob('*.py')])}")
    if path.suffix != ".py":
        raise InputError(f"{path} is not a Python file; its name must end in .py")
    path = path.absolute()
    _on_path(path.parent)
    return _Code(str(path), path.parent, _read(path))


def _module(name: str) -> _Code:
    if "" not in sys.path:
        _on_path(Path.cwd())
    with input_errors(name):
        spec = _spec_of(name)
    if spec is None:
        raise NoModuleError(f"no module named {name!r}; for a file, give its path with .py, such as ./{name}.py")
    if spec.origin is None or spec.submodule_search_locations or not spec.origin.endswith(".py"):
        return _Code(name, _folder_of(spec), None, name)
    return _Code(name, _folder_of(spec), _read(Path(spec.origin)), name)


def _spec_of(name: str) -> ModuleSpec | None:
    """Find a module; None if it, or a package that it is in, is not there."""
    try:
        return importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            return None
        raise


def _folder_of(spec: ModuleSpec) -> Path | None:
    """Return the folder that a module, or the package that it is in, is imported from; None for installed ones."""
    if spec.origin is None or not Path(spec.origin).is_absolute() or installed(spec.origin):
        return None
    levels = spec.name.count(".") + (1 if spec.submodule_search_locations else 0)
    return Path(spec.origin).parents[levels]


def _on_path(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _read(path: Path) -> Source:
    try:
        return Source(importlib.util.decode_source(path.read_bytes()), str(path))
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def _script(code: _Code, args: tuple[str, ...]) -> Script:
    if code.source is None:
        raise InputError(f"{code.where} is a package; name the module of it that is to run as a script")
    with input_errors(code.where):
        compile(code.source.tree, code.source.where, "exec", dont_inherit=True)
    for name, line in code.source.first_imports():  # before a cluster is started for nothing
        top = name.partition(".")[0]
        if top not in sys.modules and importlib.util.find_spec(top) is None:
            raise NoModuleError(f"{code.source.where}:{line}: {missing(top)}")
    return Script(
        name=Path(code.source.where).stem,
        file=code.source.where,
        text=code.source.text,
        args=args,
        package=code.module.rpartition(".")[0] if code.module else None,
        importable=code.source.guarded and not is_url(code.source.where),
    )


def _files(code: _Code) -> Mapping[str, Path]:
    if code.folder is None:
        return {}
    if code.module and (not code.source or "." in code.module):
        return own_files([code.module], code.folder)
    return own_files(imports(code.source.tree), code.folder) if code.source else {}


def _imported(code: _Code) -> ModuleType:
    if code.module:
        with input_errors(code.where), _loading(code):
            return importlib.import_module(code.module)
    assert code.source is not None  # noqa: S101 # what is no module was read
    stem = Path(code.where).stem
    name = stem if stem not in sys.modules and stem.isidentifier() else f"flow_file_{abs(hash(code.where))}"
    location = importlib.util.spec_from_file_location(name, code.where) if code.folder else None
    module = importlib.util.module_from_spec(location or ModuleSpec(name, None, origin=code.where))
    module.__file__ = code.where
    sys.modules[name] = module
    try:
        folder = code.folder or Path()
        with input_errors(code.where), declarations.relative_to(folder), _loading(code):
            exec(compile(code.source.tree, code.where, "exec", dont_inherit=True), vars(module))  # noqa: S102
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextlib.contextmanager
def _loading(code: _Code) -> Iterator[None]:
    """Have `flow.run()` at the top level of the code do nothing; where it imports Prefect 1, `flow.register()` too."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(context(loading_flow=True))
        if code.source and "prefect" in {name.partition(".")[0] for name in imports(code.source.tree)}:
            with contextlib.suppress(ImportError):  # which the code itself meets too, at a line of its own
                theirs = getattr(importlib.import_module("prefect"), "context", None)
                if callable(theirs):  # Prefect 3's is a module
                    stack.enter_context(theirs(loading_flow=True))
        yield


def _only_flow(module: ModuleType, code: _Code) -> Any:
    """Return the only flow of the module; if it has none, its function `main`, or its only function.

    None if it has only functions, but a `__main__` block too: that is what it is for.
    """
    candidates = _candidates(module)
    flows = [each for each in candidates if kind_of(getattr(module, each))]
    if not flows and code.source and code.source.guarded:
        return None
    if not flows and "main" in candidates:
        candidates = ["main"]
    if len(candidates) > 1:
        listed = ", ".join(f"{code.where}:{name}" for name in candidates)
        raise InputError(f"{code.where} has several candidates; name one of them: {listed}")
    if not candidates:
        raise InputError(f"{code.where} has nothing to run; define a dask_flow.Flow or a function in it")
    return getattr(module, candidates[0])


def _candidates(module: ModuleType) -> list[str]:
    """Return the names of the module's flows, or if it has none, of the functions that it defines."""
    flows = {id(value): name for name, value in vars(module).items() if kind_of(value)}
    return list(flows.values()) or [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and callable(value) and getattr(value, "__module__", None) == module.__name__
        if not isinstance(value, type | Task)
    ]


def _own_modules(code: _Code, module: ModuleType | None, new: Iterable[str]) -> list[ModuleType]:
    """Return the module, and what it has imported from its folder, but for installed ones."""
    modules = [sys.modules[name] for name in new if name in sys.modules]
    beside = [each for each in modules if code.folder and _is_beside(each, code.folder)]
    file = getattr(module, "__file__", None)
    if module is None or module in beside or file is None or installed(file):
        return beside
    return [module, *beside]


def _is_beside(module: ModuleType, folder: Path) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and folder in Path(file).parents and not installed(file)


def _suggest(name: str, others: list[str], candidates: list[str]) -> str:
    close = suggestion(name, [*candidates, *others])
    return close or (f"; there is {', '.join(sorted(candidates)[:10])}" if candidates else "")
