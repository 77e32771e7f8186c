"""What opening and closing a temporary cluster is made of, whoever makes its pods."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, TypeVar

from dask_flow.errors import DaskFlowError, StartupError
from dask_flow.manifests import DASHBOARD_PORT, RunIdentity, template_variables
from dask_flow.specs import Templates, read_templates

if TYPE_CHECKING:
    from distributed import Client
    from distributed.deploy.cluster import Cluster

    from dask_flow.clusters.attempt import Attempt
    from dask_flow.clusters.deadline import Deadline
    from dask_flow.clusters.run_cluster import RunCluster
    from dask_flow.history import History
    from dask_flow.settings import RunSettings

__all__ = ["attempt_of", "clean_up", "close", "log_dashboard", "templates_of", "wait_for_worker"]

log = logging.getLogger(__name__)

CLOSE_SECONDS = 2

AnyAttempt = TypeVar("AnyAttempt", bound="Attempt")


def attempt_of(
    kind: type[AnyAttempt], settings: RunSettings, history: History
) -> tuple[AnyAttempt, RunSettings, RunIdentity]:
    """Return the objects of this run's attempt, none made yet, and the settings with what the specs ask for.

    Those are the run's from then on, in its history too.
    """
    from dask_flow.kube import Kube

    kube = Kube.in_cluster()
    identity = RunIdentity.of_pod(kube.own_pod(), os.environ.get("DASK_FLOW_POD_IP"))
    templates, settings = templates_of(settings, identity)
    history.settings = settings
    attempt = kind(kube, identity, settings, templates)
    attempt.note_in(history)
    return attempt, settings, identity


def templates_of(settings: RunSettings, identity: RunIdentity) -> tuple[Templates, RunSettings]:
    """Read the pods' templates, log what was changed in them, and return the settings with the minimum they ask for."""
    templates = read_templates(settings, template_variables(settings, identity, os.environ))
    for warning in templates.warnings:
        log.warning("%s", warning)
    if templates.worker.replicas:
        settings = settings.with_min_workers(templates.worker.replicas)
    return templates, settings


def wait_for_worker(cluster: RunCluster, objects: Attempt, deadline: Deadline) -> None:
    """Wait until a worker joined; a queue may take its time. Raises StartupError with what keeps them all from that."""
    try:
        deadline.result(cluster.first_worker, lambda: objects.await_admission("worker"))
    except TimeoutError as error:
        seen = "; ".join(objects.problems()) or "the pods run, but no worker joined; see their logs"
        raise StartupError(f"no worker joined within {deadline.seconds:g} s: {seen}") from error
    except DaskFlowError as error:
        raise StartupError(f"the workers cannot start: {error}") from error


def log_dashboard(identity: RunIdentity, where: str) -> None:
    """Log how to reach the dashboard; `where` is such as `pod/NAME`."""
    log.info(
        "dashboard: http://localhost:%s/status after kubectl port-forward -n %s %s %s",
        *(DASHBOARD_PORT, identity.namespace, where, DASHBOARD_PORT),
    )


def close(what: Client | Cluster) -> None:
    """Close a part of the cluster; a failure is logged, so that it hides no error that came before.

    A scheduler that is dead may be waited for as long as Dask takes to connect.
    """
    try:
        what.close(timeout=CLOSE_SECONDS)
    except TimeoutError:
        log.debug("the %s is not closed after %g s", type(what).__name__, CLOSE_SECONDS)
    except Exception as error:
        log.warning("the %s could not be closed: %s", type(what).__name__, error)


def clean_up(objects: Attempt, history: History) -> None:
    """Delete all that was made, and wait until no pod is left."""
    with history("worker pods gone"):
        objects.wait_until_gone()
