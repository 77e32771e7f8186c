"""The commands that send something to a Kubernetes cluster: `submit` and `setup`."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import click

from dask_flow.cli import run_options
from dask_flow.cli_connection import cluster_options
from dask_flow.errors import DaskFlowError, InputError, StartupError

if TYPE_CHECKING:
    from dask_flow.user_kube import UserKube

__all__ = ["setup", "submit"]

INTERRUPTED_CODE = 128 + signal.SIGINT


@click.command(
    epilog="Exit codes: with --watch the run's (see run), 3 too if its runner cannot start, 130 after Ctrl-C; else 0 "
    "if the run was made, 2 for bad input, 3 if the cluster refused it."
)
@click.argument("target")
@click.option("--release", help="The chart's release to run it with.  [default: the only one in the namespace]")
@cluster_options
@click.option("--name", help="The run's name.  [default: the target's, and five letters]")
@click.option("--watch/--no-watch", help="Show the log and the progress until the run ends.  [default: no-watch]")
@click.option(
    "--check/--no-check",
    default=True,
    help="Load the flow here first, so that mistakes are found before anything is made.  [default: check]",
)
@run_options
def submit(
    kube: UserKube,
    release: str | None,
    name: str | None,
    watch: bool,
    check: bool,
    **given: Any,
) -> None:
    """Run the flow TARGET in Kubernetes.

    It is file.py[:name], package.module[:name], or the URL of such a file. Its files, those beside it that it imports
    too, go along. All else is as the release has it, a CronJob that the chart has made, or as the options say. --image
    is the runner's image too. Without --watch, the run's name is all that is printed on the standard output.
    """
    from dask_flow.remote.pull_secret import check_or_make
    from dask_flow.remote.releases import template_of
    from dask_flow.remote.submit import create, image_of, submission_of

    options = [
        each for each in click.get_current_context().command.params if each.name in given and each.name != "target"
    ]
    submission = submission_of(given, options, name, check=check)
    template = template_of(kube, release)
    for secret in submission.pull_secrets:
        check_or_make(kube, secret, submission.image or image_of(template), os.environ)
    create(kube, template, submission)
    run = submission.run
    click.echo(f"run {run} made in namespace {kube.namespace}", err=True)
    if watch:
        sys.exit(_watch(kube, run))
    click.echo(f"  dask-flow logs -f {run} -n {kube.namespace}", err=True)
    click.echo(run)


for option in submit.params:
    if isinstance(option, click.Option) and option.envvar:  # one of run_options: its default is the release's to say
        option.help = (option.help or "").partition("  [default: ")[0]


def _watch(kube: UserKube, run: str) -> int:
    """Show a run until it ends or the user goes, and return its exit code."""
    from dask_flow.remote.cancel import cancel as cancel_run
    from dask_flow.remote.views import show_run

    try:
        ended = show_run(kube, run)
    except KeyboardInterrupt:
        return _interrupted(kube, run)
    except DaskFlowError as error:
        raise StartupError(f"{error}. The run may go on: dask-flow logs -f {run} -n {kube.namespace}") from error
    if ended.stuck:
        cancel_run(kube, run)
        click.echo(f"run {run} is cancelled: it would wait for ever", err=True)
    return ended.exit_code


def _interrupted(kube: UserKube, run: str) -> int:
    """Ask, on a terminal, whether the run is to end too."""
    from dask_flow.remote.cancel import cancel as cancel_run
    from dask_flow.remote.cancel import wait_until_gone

    try:
        answer = sys.stdin.isatty() and click.prompt(
            "\nDetach from the run, which goes on, or cancel it?",
            type=click.Choice(["detach", "cancel"]),
            default="detach",
            err=True,
        )
    except (click.Abort, KeyboardInterrupt):
        answer = "detach"
    if answer == "cancel":
        cancel_run(kube, run)
        wait_until_gone(kube, run)
        click.echo(f"run {run} is cancelled", err=True)
    else:
        where = f"{run} -n {kube.namespace}"
        click.echo(
            f"detached, the run goes on; watch it again or end it:\n  dask-flow logs -f {where}\n"
            f"  dask-flow cancel {where}",
            err=True,
        )
    return INTERRUPTED_CODE


@click.command(
    epilog="The login comes from DOCKER_USERNAME and DOCKER_PASSWORD (and DOCKER_SERVER, DOCKER_EMAIL), or from where "
    "docker login or podman login has put it, credential helpers too. Exit codes: 0 the Secret is there, 2 bad input, "
    "3 the cluster refused it."
)
@click.argument("target", required=False)
@click.option("--image-pull-secret", "secret", help="The Secret's name.  [default: what the flow TARGET asks for]")
@click.option("--image", help="What is to be pulled.  [default: the image that TARGET names, else one of Docker Hub]")
@click.option("--force", is_flag=True, help="Replace a Secret that is there.")
@cluster_options
def setup(
    kube: UserKube,
    target: str | None,
    secret: str | None,
    image: str | None,
    force: bool,
) -> None:
    """Check the image pull secret, or make it.

    It is what pods pull images from a private registry by.
    """
    from dask_flow.remote.pull_secret import set_up, wishes_of

    secrets, declared = wishes_of(target) if target else ((), None)
    names = (secret,) if secret else secrets
    if not names:
        raise InputError("no Secret is named: give --image-pull-secret, or a TARGET that asks for one")
    for name in names:
        set_up(kube, name, image or declared or "", os.environ, force=force)
