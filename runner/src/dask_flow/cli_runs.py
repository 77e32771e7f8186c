"""The commands about runs that are there, `list`, `logs`, `cancel` and `dashboard`, and `completion`, of runs too."""

from __future__ import annotations

import datetime as dt
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click
from click.shell_completion import get_completion_class

from dask_flow.cli import cli
from dask_flow.cli_connection import RUN, cluster_options
from dask_flow.errors import InputError
from dask_flow.remote.tables import FORMATS

if TYPE_CHECKING:
    from dask_flow.user_kube import UserKube

__all__ = ["cancel", "completion", "dashboard", "list_runs", "logs"]

SHELLS = ("bash", "zsh", "fish")


@click.command("list")
@cluster_options
@click.option("-A", "--all-namespaces", is_flag=True, help="Runs in all namespaces.")
@click.option("--release", help="Runs of this release only.")
@click.option("-o", "--output", type=click.Choice(FORMATS), default="table", help="[default: table]")
def list_runs(
    kube: UserKube,
    all_namespaces: bool,
    release: str | None,
    output: str,
) -> None:
    """List runs, their states and reasons."""
    from dask_flow.remote.runs import find
    from dask_flow.remote.tables import rendered

    runs = find(kube, everywhere=all_namespaces, release=release)
    if not runs and output in {"table", "wide"}:
        where = "any namespace" if all_namespaces else f"namespace {kube.namespace}"
        if not all_namespaces and not kube.has_namespace():
            raise InputError(f"there is no namespace {kube.namespace} at {kube.where}; give another with -n")
        click.echo(f"There are no runs in {where}.", err=True)
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    now = dt.datetime.now(dt.UTC)
    click.echo(rendered(runs, output, now=now, namespaces=all_namespaces, width=width))


@click.command(
    epilog="Exit codes: with --follow the run's (see run), 143 if it was cancelled, 3 too if its runner cannot start; "
    "else 0, 2 for bad input, 3 if the cluster refused it."
)
@click.argument("run", type=RUN)
@click.option(
    "--worker", metavar="NAME", help="The log of a worker, by its name or its pod's, instead of the runner's."
)
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends, across attempts, with the progress.")
@click.option("-p", "--previous", is_flag=True, help="The logs of the attempts before the last one.")
@cluster_options
def logs(
    kube: UserKube,
    run: str,
    worker: str | None,
    follow: bool,
    previous: bool,
) -> None:
    """Print the log of RUN.

    That is its runner's in the last attempt, or a worker's.
    """
    from dask_flow.remote.logs import attempts_of, worker_of
    from dask_flow.remote.runs import job_of
    from dask_flow.remote.views import show_run

    if previous and (worker or follow):
        raise InputError("--previous is about runners that have ended; leave out --worker and --follow")
    job_of(kube, run)
    if follow and not worker:
        sys.exit(show_run(kube, run).exit_code)
    attempts = [worker_of(kube, run, worker)] if worker else attempts_of(kube, run)
    for pod in attempts[:-1] if previous else attempts[-1:]:
        if previous:
            click.echo(f"==> {pod} <==", err=True)
        _print(kube.log_lines(pod, None if worker else "runner", follow=follow))


def _print(lines: Iterator[str]) -> None:
    for line in lines:
        click.echo(line)


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=RUN)
@click.option("--wait/--no-wait", default=True, help="Wait until all its pods are gone.  [default: wait]")
@cluster_options
def cancel(kube: UserKube, runs: Sequence[str], wait: bool) -> None:
    """End RUN and delete it.

    All that belongs to it goes too, with its log.
    """
    from dask_flow.remote.cancel import cancel as cancel_run
    from dask_flow.remote.cancel import wait_until_gone
    from dask_flow.remote.runs import job_of

    for run in runs:
        job_of(kube, run)
    for run in runs:
        cancel_run(kube, run)
    for run in runs:
        if wait:
            wait_until_gone(kube, run)
        click.echo(f"run {run} {'is' if wait else 'is being'} cancelled")


@click.command()
@click.argument("run", type=RUN)
@click.option("--port", type=click.IntRange(0, 65535), default=8787, help="Of this machine; 0: any.  [default: 8787]")
@cluster_options
def dashboard(kube: UserKube, run: str, port: int) -> None:
    """Open a way to the Dask dashboard of RUN.

    Its URL on this machine is printed. The way stays open until Ctrl-C, or the run's end, across attempts.
    """
    from dask_flow.remote.dashboard import forwarded, scheduler_pods
    from dask_flow.remote.runs import condition_of, job_of

    if condition_of(job_of(kube, run)):
        raise InputError(f"run {run} has no dashboard now: it is not running; see dask-flow list")
    kube.be_patient()
    try:
        with ExitStack() as way:
            for pod in scheduler_pods(kube, run):
                way.close()
                if pod:
                    port = way.enter_context(forwarded(kube, pod, port))
                    click.echo(f"http://localhost:{port}/status")
                else:
                    click.echo(f"run {run} has no runner now; waiting for its next attempt, or its end", err=True)
    except KeyboardInterrupt:
        return
    click.echo(f"run {run} has ended, and its dashboard with it", err=True)


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the completion script of SHELL.

    It completes commands, options, and names of runs.

    For bash, in ~/.bashrc: eval "$(dask-flow completion bash)"
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.ClickException(f"there is no completion for {shell}")
    click.echo(kind(cli, {}, "dask-flow", "_DASK_FLOW_COMPLETE").source())
