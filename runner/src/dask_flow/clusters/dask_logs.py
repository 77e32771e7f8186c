"""Save the logs that Dask's processes keep in memory, where Kubernetes has none of their own."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dask_flow.log import described

if TYPE_CHECKING:
    from distributed import Client

    from dask_flow.history import History

__all__ = ["keep_info", "save_scheduler_log", "saved_at_the_end", "scheduler_log"]

log = logging.getLogger(__name__)

SECONDS = 8


def saved_at_the_end(client: Client, history: History) -> None:
    """Have the scheduler's and the workers' logs saved, if somebody wants them."""
    if history.logs:
        history.log_savers += [partial(save, client, history.logs) for save in (save_scheduler_log, _save_workers)]


def save_scheduler_log(client: Client, folder: Path) -> None:
    """Save the scheduler's log; a failure is logged."""
    _write(folder / "scheduler.log", scheduler_log(client))


def scheduler_log(client: Client) -> list[tuple[str, str]]:
    """Return level and text of each line that the scheduler has kept; a failure is logged."""
    return list(reversed(_asked(client, "scheduler's log", client.scheduler.logs, n=None) or ()))


def _save_workers(client: Client, folder: Path) -> None:
    ask = partial(client.scheduler.worker_logs, n=None, workers=None, nanny=False)
    logs = _asked(client, "workers' logs", ask) or {}
    info = _asked(client, "workers' names", client.scheduler.identity, n_workers=-1) if logs else None
    workers = info["workers"] if info else {}
    for address, newest_first in logs.items():
        name = re.sub(r"[^\w.-]+", "-", f"worker-{workers.get(address, {}).get('name', address)}")
        _write(folder / f"{name}.log", reversed(newest_first))


def _asked(client: Client, what: str, ask: Callable[..., Any], **arguments: Any) -> Any:
    if client.status != "running":
        return None
    try:
        return client.sync(ask, callback_timeout=SECONDS, **arguments)
    except Exception as error:
        log.warning("the %s cannot be had: %s", what, described(error))
        return None


def _write(path: Path, lines: Iterable[tuple[str, str]]) -> None:
    text = "".join(f"{line}\n" for _, line in lines)
    try:
        if text:
            path.write_text(text)
    except OSError as error:
        log.warning("%s cannot be saved: %s", path.name, error)


def keep_info(client: Client, *, workers: bool = False) -> None:
    """Have a scheduler beside the runner, and workers there, keep lines of level INFO too, but print them no more."""
    client.run_on_scheduler(_keep_info)
    if workers:
        client.run(_keep_info)


def _keep_info() -> None:
    for handler in (*logging.getLogger().handlers, *logging.getLogger("distributed").handlers):
        handler.addFilter(_is_for_the_log)
    for name in ("scheduler", "worker"):
        logging.getLogger(f"distributed.{name}").setLevel(logging.INFO)


def _is_for_the_log(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or not record.name.startswith("distributed.")
