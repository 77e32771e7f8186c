"""The command `build`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from dask_flow.cli import option
from dask_flow.errors import DaskFlowError
from dask_flow.settings import BUILDERS

__all__ = ["build"]

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(epilog="Exit codes: 0 it is built, 2 bad input, a builder that fails, or a registry that refuses.")
@click.argument("target")
@click.option("--image", metavar="NAME:TAG", help="What it is called.  [default: as the flow's storage, or the flow]")
@click.option("--base-image", metavar="NAME:TAG", help="What it starts from.  [default: the image of this version]")
@click.option("--dockerfile", type=FILE, help="Start from what this Dockerfile makes in the working directory.")
@click.option("-r", "--requirement", type=FILE, help="Install what this requirements file lists.")
@click.option(
    "--python-dependency",
    "python_dependencies",
    multiple=True,
    metavar="REQUIREMENT",
    help="Install a package by pip; may be repeated.",
)
@click.option(
    "--file",
    "files",
    multiple=True,
    metavar="SOURCE:PLACE",
    help="Copy a file or folder to a place in the image; may be repeated.",
)
@click.option("--env", multiple=True, metavar="NAME=VALUE", help="Set a variable in the image; may be repeated.")
@click.option("--check/--no-check", default=None, help="Load the flow in the image.  [default: check]")
@click.option("--push/--no-push", default=None, help="[default: push if a registry is in the name]")
@option("--builder", type=click.Choice(BUILDERS), help="[default: the first of them that works]")
@click.option("--print", "show", is_flag=True, help="Print the Dockerfile, and build nothing.")
@click.argument("builder_arguments", metavar="[-- BUILDER_ARGUMENT...]", nargs=-1, type=click.UNPROCESSED)
def build(target: str, builder: str | None, show: bool, **given: Any) -> None:
    """Build the image of the flow TARGET, and print its name, by digest if it was pushed.

    The flow's storage=Docker(...) says what is in it. Options that may be repeated, and -r, add to that; others win.
    """
    from contextlib import redirect_stdout

    from dask_flow import images, log

    log.configure("text")
    try:
        with redirect_stdout(sys.stderr):  # what the flow's file prints is not the image's name
            image = images.planned(target, images.BuildOptions(**given))
        click.echo(images.render(image) if show else images.build(image, builder).reference, nl=not show)
    except DaskFlowError as error:
        click.echo(str(error), err=True)
        sys.exit(error.exit_code)
