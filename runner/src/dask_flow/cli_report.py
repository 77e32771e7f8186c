"""The command `report`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from dask_flow.cli_connection import Connection, connection_options, run_name
from dask_flow.errors import InputError

__all__ = ["report"]


@click.command(epilog="Exit codes: 0 it is there, 2 it is not, 3 the cluster cannot be asked.")
@click.argument("what", metavar="RUN|DIR|URL")
@connection_options
@click.option("--open/--no-open", "opened", default=None, help="In the browser.  [default: on a terminal]")
def report(connection: Connection, what: str, opened: bool | None) -> None:
    """Print where the page of a run's last report is, and open it: by the run's name, or where reports are kept.

    What is kept below a URL is fetched first.
    """
    from dask_flow.report.opening import page_in, place_of
    from dask_flow.targets.urls import is_url

    run = run_name(what)
    if is_url(what) or Path(what).is_dir():
        page = page_in(what)
    elif run is None:
        raise InputError(
            f"there is no folder {what}; give the folder or the URL where reports are kept, or a run's name"
        )
    else:
        page = page_in(place_of(run, connection.kube()), run)
    click.echo(str(page))
    if opened or (opened is None and sys.stdout.isatty()):
        import webbrowser

        webbrowser.open(page.absolute().as_uri())
