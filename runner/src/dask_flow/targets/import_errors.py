"""Turn what a flow's own code does wrong while it is loaded into one sentence with its file and line."""

from __future__ import annotations

import difflib
import importlib
import logging
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from dask_flow.errors import DaskFlowError, InputError, NoModuleError
from dask_flow.targets.own_files import installed

__all__ = ["input_errors", "logged_warnings", "missing", "suggestion"]

log = logging.getLogger(__name__)


@contextmanager
def input_errors(where: str) -> Iterator[None]:
    """Raise InputError for whatever is raised, with the last line of the flow's own code that led to it.

    `where` is the flow's file, URL or module: what to name if no line of it was reached.
    """
    try:
        yield
    except DaskFlowError as error:
        raise InputError(f"{_place(error, where)}: {error}") from error
    except SyntaxError as error:
        raise InputError(f"{error.filename}:{error.lineno}: syntax error: {error.msg}") from error
    except ImportError as error:
        own = (error.name or "").partition(".")[0] == "dask_flow"
        kind = NoModuleError if isinstance(error, ModuleNotFoundError) and not own else InputError
        raise kind(f"{_place(error, where)}: {_of_import(error)}") from error
    except (NameError, AttributeError) as error:
        raise InputError(f"{_place(error, where)}: {type(error).__name__}: {error}{_of_name(error)}") from error
    except (Exception, SystemExit) as error:
        raise InputError(f"{_place(error, where)}: {type(error).__name__}: {error}") from error


@contextmanager
def logged_warnings() -> Iterator[None]:
    """Log each warning as one line with its place, rather than with its line of code below."""

    def show(  # noqa: PLR0913, PLR0917 # so it is called
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        kind = "" if category is UserWarning else f"{category.__name__}: "
        log.warning("%s:%s: %s%s", filename, lineno, kind, " ".join(str(message).split()))

    before: Any = warnings.showwarning
    warnings.showwarning = show
    try:
        yield
    finally:
        if warnings.showwarning is show:  # else the flow has its own way
            warnings.showwarning = before


def suggestion(name: str, names: Iterable[str]) -> str:
    """Return a question for the nearest of the names, to put behind a message; empty if none is near."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _place(error: BaseException, where: str) -> str:
    trace, place, fallback = error.__traceback__, None, where
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file == where or (not file.startswith("<") and not installed(file)):
            place = f"{file}:{trace.tb_lineno}"
        elif not file.startswith("<") and not Path(file).is_relative_to(Path(__file__).parents[1]) and place is None:
            fallback = f"{file}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place or fallback


def _of_import(error: ImportError) -> str:
    name = error.name or ""
    if name.partition(".")[0] == "dask_flow":
        return _of_dask_flow(error, name)
    if not isinstance(error, ModuleNotFoundError):
        return f"{type(error).__name__}: {error}"
    return missing(name)


def missing(name: str) -> str:
    """Say that there is no such module here, and how to add it."""
    if name.partition(".")[0] == "prefect":
        return (
            f"no module named {name!r}: Prefect is not installed here; import from dask_flow instead, which has Flow, "
            "task and more under the same names, or install dask-flow[prefect]"
        )
    return (
        f"no module named {name!r} here; install the package that has it: in Kubernetes name it in EXTRA_PIP_PACKAGES "
        "in the chart's flow.env, or derive an image that has it"
    )


def _of_dask_flow(error: ImportError, name: str) -> str:
    """Say of a part of this package that is not there what may have been meant."""
    if isinstance(error, ModuleNotFoundError):
        parent, _, last = name.rpartition(".")
        folders = getattr(sys.modules.get(parent), "__path__", [])
        siblings = [path.stem for folder in folders for path in Path(folder).iterdir() if path.stem[0] not in "_."]
        return f"no module named {name!r}; dask-flow has no such part{suggestion(last, siblings)}"
    wanted = re.search(r"cannot import name '(\w+)'", str(error))
    if wanted is None:
        return f"{type(error).__name__}: {error}"
    names = getattr(importlib.import_module(name), "__all__", ())
    return f"{name} has no {wanted[1]!r}{suggestion(wanted[1], names) or '; it has ' + ', '.join(names)}"


def _of_name(error: NameError | AttributeError) -> str:
    """Return the suggestion that Python itself prints only below a traceback."""
    if isinstance(error, AttributeError):
        return suggestion(error.name, dir(error.obj)) if error.name else ""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return suggestion(error.name, [*trace.tb_frame.f_locals, *trace.tb_frame.f_globals]) if error.name and trace else ""
