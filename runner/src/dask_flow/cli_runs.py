"""The commands about runs that are there, `list`, `logs`, `cancel` and `dashboard`, and `completion`, of runs too."""

from __future__ import annotations

import datetime as dt
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click
from click.shell_completion import get_completion_class

from dask_flow.cli import cli
from dask_flow.cli_connection import cluster_options, run_names
from dask_flow.errors import InputError
from dask_flow.remote.tables import FORMATS

if TYPE_CHECKING:
    from dask_flow.user_kube import UserKube

__all__ = ["cancel", "completion", "dashboard", "list_runs", "logs"]

LOOK_SECONDS = 2
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


@click.command()
@click.argument("run", shell_complete=run_names)
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

    if previous and (worker or follow):
        raise InputError("--previous is about runners that have ended; leave out --worker and --follow")
    job_of(kube, run)
    if follow and not worker:
        _follow_log(kube, run)
        return
    attempts = [worker_of(kube, run, worker)] if worker else attempts_of(kube, run)
    for pod in attempts[:-1] if previous else attempts[-1:]:
        if previous:
            click.echo(f"==> {pod} <==", err=True)
        _print(kube.log_lines(pod, None if worker else "runner", follow=follow))


def _follow_log(kube: UserKube, run: str) -> None:
    from dask_flow.remote.follow import Ended, follow
    from dask_flow.remote.views import view

    kube.be_patient()
    with view() as shown:
        for event in follow(kube, run):
            if isinstance(event, Ended):
                reason = event.reason
            else:
                shown.show(event)
    click.echo(f"run {run}: {reason}", err=True)


def _print(lines: Iterator[str]) -> None:
    for line in lines:
        click.echo(line)


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", shell_complete=run_names)
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
@click.argument("run", shell_complete=run_names)
@click.option("--port", type=click.IntRange(0, 65535), default=8787, help="Of this machine; 0: any.  [default: 8787]")
@cluster_options
def dashboard(kube: UserKube, run: str, port: int) -> None:
    """Open a way to the Dask dashboard of RUN.

    Its URL on this machine is printed. The way stays open until Ctrl-C, or the run's end.
    """
    from dask_flow.remote.dashboard import forwarded, scheduler_pod
    from dask_flow.remote.runs import exit_of, job_of, runners_of

    pod = scheduler_pod(kube, job_of(kube, run))
    try:
        with forwarded(kube, pod, port) as local:
            click.echo(f"http://localhost:{local}/status")
            kube.be_patient()
            while any(exit_of(each) is None for each in runners_of(kube, run)):
                time.sleep(LOOK_SECONDS)
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
