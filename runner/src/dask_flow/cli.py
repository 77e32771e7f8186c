"""The `dask-flow` command: the only place that reads argv and the settings' environment variables."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import click
from click.core import ParameterSource

from dask_flow import __version__
from dask_flow.cli_connection import Connection, connection_options
from dask_flow.errors import DaskFlowError, InputError
from dask_flow.graph import FORMATS as GRAPH_FORMATS
from dask_flow.settings import CLUSTER_MODES, LOG_FORMATS, NOTIFY_WHEN, SCHEDULERS, RunSettings, may_stay

__all__ = ["cli", "main", "option", "run_options"]

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def option(*names: str, **kwargs: Any) -> Callable[[Decorated], Decorated]:
    """Declare an option that is also the environment variable DASK_FLOW_<OPTION>."""
    variable = "DASK_FLOW_" + names[0].split("/")[0].removeprefix("--").replace("-", "_").upper()
    return click.option(*names, envvar=variable, show_envvar=True, **kwargs)


class _Lines(click.types.StringParamType):
    """Texts, of which an environment variable has one in each line."""

    envvar_list_splitter = "\n"


def _secrets(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    return tuple(name.strip() for name in value.split(",") if name.strip())


def _unless_asked_for(other: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Have a variable of the environment count for nothing beside an option of the command line that rules it out."""

    def value_of(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        own, others = (context.get_parameter_source(name) for name in (str(parameter.name), other))
        ruled_out = other == "address" or not may_stay(context.params.get(other))
        asked = (own, others) == (ParameterSource.ENVIRONMENT, ParameterSource.COMMANDLINE)
        return None if asked and ruled_out else value

    return value_of


RUN_OPTIONS = (
    option(
        "--cluster",
        callback=_unless_asked_for("address"),
        type=click.Choice(CLUSTER_MODES),
        help="Where it runs; auto is static with an address, pods "
        f"inside Kubernetes, else local.  [default: {RunSettings.cluster}]",
    ),
    option(
        "--address",
        callback=_unless_asked_for("cluster"),
        help="The scheduler of a static cluster, such as tcp://dask-scheduler:8786.",
    ),
    option("--min-workers", type=int, help=f"Workers at least.  [default: {RunSettings.min_workers}]"),
    option(
        "--max-workers",
        type=int,
        help=f"Workers at most; equal to the minimum for a fixed size.  [default: {RunSettings.max_workers}]",
    ),
    option(
        "--worker-spec",
        type=click.Path(path_type=Path),
        help="A Pod manifest for the workers, a Jinja2 template.  "
        "[default: /etc/dask-flow/worker_spec.yaml if it is there]",
    ),
    option(
        "--scheduler-spec",
        type=click.Path(path_type=Path),
        help="A Pod or Job manifest for the scheduler, which "
        "then has a pod of its own.  [default: /etc/dask-flow/scheduler_spec.yaml if it is there]",
    ),
    option(
        "--scheduler",
        type=click.Choice(SCHEDULERS),
        help="Where the scheduler of a temporary cluster runs: in the "
        "runner's pod or in one of its own.  [default: pod with a scheduler spec, else runner]",
    ),
    option("--image", help="The image of pods that do not name one.  [default: the runner's own]"),
    option(
        "--image-pull-secret",
        "image_pull_secrets",
        callback=_secrets,
        help="Pull secrets for pods that do not name any, comma separated.  [default: the runner's own]",
    ),
    option(
        "--queue-name",
        metavar="NAME",
        help="Kueue's LocalQueue for the pods of a temporary cluster.  [default: the runner's own]",
    ),
    click.option(
        "--param",
        "params",
        multiple=True,
        metavar="NAME=VALUE",
        help="A flow parameter, its value in YAML; may be repeated. All at once: DASK_FLOW_PARAMS, one YAML mapping.",
    ),
    click.option(
        "--arg",
        "args",
        multiple=True,
        metavar="VALUE",
        help="An argument of a script, for its sys.argv; may be repeated. All at once: DASK_FLOW_ARGS, one YAML list.",
    ),
    option(
        "--startup-timeout",
        type=float,
        metavar="SECONDS",
        help=f"Until the first worker is there.  [default: {RunSettings.startup_timeout:g}]",
    ),
    option("--timeout", type=float, metavar="SECONDS", help="For the whole flow.  [default: none]"),
    option(
        "--report",
        metavar="DIR|URL",
        help="Where the run's report is kept, in a folder of the run's name.  [default: none]",
    ),
    option(
        "--tls/--no-tls",
        default=None,
        help="Mutual TLS in a temporary cluster, with keys made for this run.  [default: tls for --cluster pods]",
    ),
    option(
        "--work-stealing/--no-work-stealing",
        default=None,
        help="Whether idle workers take tasks from busy ones.  [default: work-stealing]",
    ),
    option(
        "--adaptive-interval",
        type=float,
        metavar="SECONDS",
        help=f"Between two looks at how many workers are needed.  [default: {RunSettings.adaptive_interval:g}]",
    ),
    option(
        "--adaptive-target-duration",
        type=float,
        metavar="SECONDS",
        help="Queued work for which a further worker is "
        f"asked for.  [default: {RunSettings.adaptive_target_duration:g}]",
    ),
    option(
        "--adaptive-wait-count",
        type=int,
        help="Looks in a row at which a worker was idle before it is let go.  "
        f"[default: {RunSettings.adaptive_wait_count}]",
    ),
    option(
        "--allowed-failures",
        type=int,
        help="Worker pods that may end for the same cause.  [default: 10, or twice --max-workers if that is more]",
    ),
)


def run_options(command: Decorated) -> Decorated:
    """Declare the options that say how a flow runs."""
    for declare in reversed(RUN_OPTIONS):
        command = declare(command)
    return command


class Commands(click.Group):
    """The commands here, and those in modules of their own, which are imported when one is asked for."""

    ELSEWHERE: ClassVar[dict[str, str]] = {
        "build": "cli_build:build",
        "cancel": "cli_runs:cancel",
        "completion": "cli_runs:completion",
        "dashboard": "cli_runs:dashboard",
        "list": "cli_runs:list_runs",
        "logs": "cli_runs:logs",
        "report": "cli_report:report",
        "setup": "cli_submit:setup",
        "submit": "cli_submit:submit",
    }

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted([*super().list_commands(ctx), *self.ELSEWHERE])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command."""
        if cmd_name not in self.ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        module, _, name = self.ELSEWHERE[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(f"dask_flow.{module}"), name)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="dask-flow")
def cli() -> None:
    """Run Python flows on Dask clusters: temporary ones in Kubernetes, static ones, or one on this machine."""


@cli.command(epilog="Exit codes: 0 success, 1 the flow failed, 2 bad input, 3 the cluster could not start, "
                    "4 the cluster was lost, 130/143 interrupted.")  # fmt: skip
@click.argument("target")
@run_options
@option(
    "--notify",
    multiple=True,
    type=_Lines(),
    metavar="URL",
    help="URL to notify when the run ends, one of Apprise's (Slack, Teams, mail, a web hook, …); may be repeated. "
    "As it holds a secret, better DASK_FLOW_NOTIFY, URLs separated by blanks, lines or commas.",
)
@option(
    "--notify-when",
    type=click.Choice(NOTIFY_WHEN),
    default=NOTIFY_WHEN[0],
    help=f"When to notify: on failure, success or both.  [default: {NOTIFY_WHEN[0]}]",
)
@option("--log-format", type=click.Choice(LOG_FORMATS), help=f"[default: {RunSettings.log_format}]")
@option(
    "--progress",
    type=float,
    metavar="SECONDS",
    help="Log so often how many tasks of each name are done.  [default: never]",
)
@option("--debug", is_flag=True, help="Log each error's traceback too.")
def run(
    debug: bool, params: tuple[str, ...], args: tuple[str, ...], notify: tuple[str, ...], notify_when: str, **given: Any
) -> None:
    """Run the flow TARGET: file.py[:name], package.module[:name], or the URL of such a file."""
    from dask_flow import log
    from dask_flow import report as reports
    from dask_flow.params import parse_args, parse_params
    from dask_flow.report.notify import Notifier
    from dask_flow.run import run as run_flow

    log.configure(given.get("log_format") or RunSettings.log_format)
    if debug:
        logging.getLogger("dask_flow").setLevel(logging.DEBUG)
    os.environ.pop("DASK_FLOW_NOTIFY", None)  # not for the flow, its log and its processes
    notifier = Notifier(given["target"], notify, notify_when)
    try:
        given["params"] = parse_params(os.environ.get("DASK_FLOW_PARAMS"), params)
        given["args"] = parse_args(os.environ.get("DASK_FLOW_ARGS"), args)
    except InputError as error:
        outcome = reports.Outcome(exit_code=error.exit_code, reason=str(error))
        reports.write_termination_message(outcome.reason)
        notifier.tell(outcome)
        reports.conclude(outcome)
    else:
        outcome = run_flow(given, notifier)
    _exit(outcome.exit_code)


@cli.command(epilog="Exit codes: 0 all is well, 2 bad input, 3 the cluster would refuse it.")
@click.argument("target", required=False)
@run_options
@connection_options
def validate(connection: Connection, params: tuple[str, ...], args: tuple[str, ...], **given: Any) -> None:
    """Print the pods that `run` with the same options would create in Kubernetes, or all that is wrong with them.

    With --cluster operator, that is the DaskCluster by which the Dask operator makes them.

    With a cluster at hand, the one that kubectl would use, it is asked too: it checks the pods as if they were created,
    quotas, and whether you may do what a runner does. Nothing is created.
    """
    import yaml

    from dask_flow.params import parse_args, parse_params
    from dask_flow.validate import cluster_at_hand, plan, review

    given["params"] = parse_params(os.environ.get("DASK_FLOW_PARAMS"), params)
    given["args"] = parse_args(os.environ.get("DASK_FLOW_ARGS"), args)
    kube = cluster_at_hand(connection)
    planned = plan(given, connection.namespace or (kube.namespace if kube else "default"))
    click.echo(yaml.safe_dump_all(planned.manifests, sort_keys=False), nl=False)
    review(planned, kube)


@cli.command(epilog="Exit codes: 0 it is drawn, 2 bad input.")
@click.argument("target")
@click.option(
    "--format",
    "wanted",
    type=click.Choice(GRAPH_FORMATS),
    help="[default: what the file's name ends in, else mermaid]",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="[default: the standard output]")
def graph(target: str, wanted: str | None, output: Path | None) -> None:
    """Draw the tasks of the flow TARGET and their dependencies; nothing is run.

    An html page needs no network, and can be zoomed. Graphviz draws svg if it is installed.
    """
    from contextlib import redirect_stdout

    from dask_flow import log
    from dask_flow.graph import draw, format_of
    from dask_flow.targets import load

    log.configure("text")
    try:
        chosen = wanted or (format_of(output) if output else "mermaid")
        with redirect_stdout(sys.stderr):  # what the flow's file prints is not part of the drawing
            drawing = draw(load(target).flow)
        if output:
            drawing.save(output, chosen)
        else:
            click.echo(drawing.render(chosen), nl=False)
    except DaskFlowError as error:
        click.echo(str(error), err=True)
        sys.exit(error.exit_code)


def _exit(code: int) -> None:
    """End the process, at once if a flow that was given up, or the writing of its report, still runs in its thread."""
    if any(thread.name in ("flow", "report") for thread in threading.enumerate()):
        logging.shutdown()
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


def main() -> None:
    """Run the command line. A usage error is a run's reason too, so it becomes the termination message."""
    try:
        sys.exit(cli.main(prog_name="dask-flow", standalone_mode=False))
    except click.ClickException as error:
        from dask_flow.report import Outcome, write_termination_message

        error.show()
        write_termination_message(error.format_message())
        if isinstance(error, click.UsageError) and error.ctx and error.ctx.command is run:
            from dask_flow.report.notify import Notifier

            urls, when = (os.environ.get(name, "") for name in ("DASK_FLOW_NOTIFY", "DASK_FLOW_NOTIFY_WHEN"))
            Notifier("dask-flow run", [urls], when).tell(Outcome(error.exit_code, error.format_message()))
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(128 + signal.SIGINT)
