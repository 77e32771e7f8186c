"""Take back what a run taught the workers of a cluster that may stay."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from dask_flow.log import described

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["unregister"]

log = logging.getLogger(__name__)


def unregister(client: Client, name: str) -> None:
    """Take a worker plugin back. A failure is logged, so that it hides no error that came before.

    A scheduler that started again while the run went on does not know the plugin, nor do its workers.
    """
    if client.status != "running":
        return
    try:
        client.unregister_worker_plugin(name)
    except ValueError as error:
        log.debug("the scheduler does not know the plugin %s: %s", name, described(error))
    except Exception as error:
        log.warning("the plugin %s could not be removed from the workers: %s", name, described(error))
