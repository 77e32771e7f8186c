"""Load a target and say what is wrong with it, in one marked line: what `dask-flow build` runs in an image."""

from __future__ import annotations

import sys
import time

import click

from dask_flow.errors import InputError
from dask_flow.targets.loader import load

__all__ = ["MARK", "main"]

MARK = "the flow cannot be loaded: "
# With isolation by chroot, buildah may lose what a process wrote right before its end.
LAST_WORDS_SECONDS = 0.5


def main(target: str) -> int:
    """Load the target; return the command's exit code."""
    try:
        load(target)
    except InputError as error:
        click.echo(f"{MARK}{' '.join(str(error).split())}", err=True)
        time.sleep(LAST_WORDS_SECONDS)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
