"""`dask-worker` and `dask-scheduler`, which distributed dropped in 2026.6, and the flags that Dask renamed."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["modern", "scheduler", "worker"]

COMMANDS = {"dask-worker": ["dask", "worker"], "dask-scheduler": ["dask", "scheduler"]}
DROPPED = {"--reconnect", "--no-reconnect"}
RENAMED = {
    "--bokeh": "--dashboard",
    "--no-bokeh": "--no-dashboard",
    "--bokeh-port": "--dashboard-address",
    "--bokeh-prefix": "--dashboard-prefix",
    "--nprocs": "--nworkers",
}


def modern(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """Translate a Dask command line of any age into today's; return it and a warning for each change."""
    new: list[str] = []
    warnings: list[str] = []
    for position, arg in enumerate(args):
        flag, equals, value = arg.partition("=")
        if position == 0 and arg in COMMANDS:
            new += COMMANDS[arg]
            warnings.append(f"{arg} is now {' '.join(COMMANDS[arg])}")
        elif flag in DROPPED:
            warnings.append(f"{flag} is left out: workers do not reconnect any more, their pods are replaced")
        elif flag in RENAMED:
            if flag == "--bokeh-port" and equals:
                value = f":{value}"
            new.append(f"{RENAMED[flag]}{equals}{value}")
            warnings.append(f"{flag} is now {RENAMED[flag]}")
        elif position and args[position - 1] == "--bokeh-port":
            new.append(f":{arg}")
        else:
            new.append(arg)
    return new, warnings


def worker() -> None:
    """Be `dask-worker`: `dask worker` with flags of any age."""
    from distributed.cli.dask_worker import main

    _run(main, "worker")


def scheduler() -> None:
    """Be `dask-scheduler`: `dask scheduler` with flags of any age."""
    from distributed.cli.dask_scheduler import main

    _run(main, "scheduler")


def _run(main: object, name: str) -> None:
    args, warnings = modern(sys.argv[1:])
    for warning in warnings:
        print(f"dask-{name}: {warning}", file=sys.stderr)  # noqa: T201
    main(args=args, prog_name=f"dask-{name}")  # type: ignore[operator]
