"""What the commands for runs in a Kubernetes cluster have in common: whose cluster it is, and which runs it has."""

from __future__ import annotations

import dataclasses
import functools
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from dask_flow.errors import DaskFlowError
from dask_flow.text import printable

if TYPE_CHECKING:
    from dask_flow.user_kube import UserKube

__all__ = ["RUN", "Connection", "cluster_options", "connection_options", "run_name"]

COMPLETION_SECONDS = 2
JOB_KINDS = {"", "job", "jobs", "job.batch", "jobs.batch"}
JOB_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?")


@dataclasses.dataclass(frozen=True)
class Connection:
    """By what kubectl would find a cluster and a namespace; None: as its configuration says."""

    namespace: str | None = None
    context: str | None = None
    kubeconfig: Path | None = None

    @property
    def is_open(self) -> bool:
        """Whether no cluster is named."""
        return self.context is None and self.kubeconfig is None

    def kube(self) -> UserKube:
        """Return the cluster."""
        from dask_flow.user_kube import UserKube

        return UserKube.from_kubeconfig(self.namespace, self.context, self.kubeconfig)


def cluster_options(function: Callable[..., None]) -> Callable[..., None]:
    """Declare the options by which kubectl finds a cluster and a namespace, and call the function with that, `kube`.

    An error ends the command with its sentence and its exit code.
    """

    @functools.wraps(function)
    def command(connection: Connection, **given: Any) -> None:
        function(connection.kube(), **given)

    return connection_options(command)


def connection_options(function: Callable[..., None]) -> Callable[..., None]:
    """Do as `cluster_options` does for a command that may need no cluster: it is called with the `Connection`."""

    @functools.wraps(function)
    def command(namespace: str | None, context: str | None, kubeconfig: Path | None, **given: Any) -> None:
        from dask_flow import log

        log.configure("text")
        try:
            function(Connection(namespace, context, kubeconfig), **given)
        except DaskFlowError as error:
            click.echo(printable(error, form=str), err=True)
            sys.exit(error.exit_code)

    for option in (
        click.option("--context", help="A context of the kubeconfig.  [default: kubectl's current one]"),
        click.option(
            "--kubeconfig",
            type=click.Path(path_type=Path, exists=True, dir_okay=False),
            help="[default: $KUBECONFIG, else ~/.kube/config]",
        ),
        click.option("-n", "--namespace", help="[default: the context's]"),
    ):
        command = option(command)
    return command


def run_name(text: str) -> str | None:
    """Return a run's name, which may be as `list -o name` and kubectl have it: `job.batch/NAME`; None if it is none."""
    kind, _, name = text.rpartition("/")
    return name if kind in JOB_KINDS and JOB_NAME.fullmatch(name) else None


class RunName(click.ParamType):  # type: ignore[type-arg] # generic only in newer versions of click
    """The name of a run."""

    name = "run"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name."""
        return run_name(value) or self.fail(
            f"{value!r} is no run's name; dask-flow list says what there is", param, ctx
        )

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Complete it, if the cluster answers soon; whatever is wrong with that, a shell is not the place."""
        names: list[str] = []

        def ask() -> None:
            from dask_flow.remote.runs import find

            given = ctx.params
            kube = Connection(given.get("namespace"), given.get("context"), given.get("kubeconfig")).kube()
            names.extend(run.name for run in find(kube))

        def ask_quietly() -> None:
            try:
                ask()
            except Exception:
                return

        thread = threading.Thread(target=ask_quietly, daemon=True)
        thread.start()
        thread.join(COMPLETION_SECONDS)
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


RUN = RunName()
