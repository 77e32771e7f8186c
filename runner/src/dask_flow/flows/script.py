"""Run a file as a script: as `python FILE ARGS` would, but that `Client()` connects to the run's cluster."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from dask_flow.errors import InputError
from dask_flow.flows import FlowResult

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Script", "check", "run"]


@dataclasses.dataclass(frozen=True)
class Script:
    """A file to run as `__main__`.

    `file` is its path, or the URL that `text` is from; `package` is the one it is in, if it was named as a module.
    `importable`: whether new processes may import it, as multiprocessing does; one without a `__main__` block would
    do all its work there again.
    """

    name: str
    file: str
    text: str
    args: tuple[str, ...] = ()
    package: str | None = None
    importable: bool = False


def check(flow: Script, params: Mapping[str, Any]) -> None:
    """Raise InputError for parameters, which a script has none of."""
    if params:
        raise InputError(
            f"{flow.file} is run as a script, which has no parameters, but {next(iter(params))!r} is given; "
            f"give --arg VALUE for its sys.argv, or name a function: {flow.file}:NAME"
        )


def run(flow: Script, client: Client, params: Mapping[str, Any]) -> FlowResult:
    """Execute the file's code here, and wait for it. `sys.exit` with anything but 0 is an error."""
    from dask_flow.flows.default_client import as_default

    code = compile(flow.text, flow.file, "exec", dont_inherit=True)
    try:
        with as_default(client), _as_main(flow) as module:
            exec(code, vars(module))  # noqa: S102 # this is what a script is for
    except SystemExit as error:
        if error.code:
            return FlowResult(results={}, errors={flow.name: error})
    except Exception as error:
        return FlowResult(results={}, errors={flow.name: error})
    return FlowResult(results={})


@contextmanager
def _as_main(script: Script) -> Iterator[ModuleType]:
    """Make a module `__main__` of the script, and give it its arguments."""
    module = ModuleType("__main__")
    module.__file__ = script.file
    module.__package__ = script.package
    if not script.importable:
        # multiprocessing takes such a name for that of a command, and does not import it into new processes.
        name = f"{script.package}.__main__" if script.package else "__main__"
        module.__spec__ = ModuleSpec(name, None, origin=script.file)
    vars(module)["__builtins__"] = __builtins__
    before = sys.modules["__main__"], sys.argv
    sys.modules["__main__"], sys.argv = module, [script.file, *script.args]
    try:
        yield module
    finally:
        sys.modules["__main__"], sys.argv = before
