"""The report of a run: gathered in a folder of this machine, and copied to where it is wanted, at the run's end."""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dask_flow import interrupts
from dask_flow.errors import InputError
from dask_flow.history import History
from dask_flow.log import file_handler
from dask_flow.report.document import document, summary
from dask_flow.report.outcome import Outcome
from dask_flow.report.performance import page_of
from dask_flow.report.places import REPORT, Place, folder_name, previous, reason
from dask_flow.report.workers import Worker

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["RunReport"]

log = logging.getLogger(__name__)

PAGE = "report.html"
PERFORMANCE = "performance_report.html"
WRITE_SECONDS = 120
# Kubernetes gives a pod that is told to end 30 seconds for all: this, three times at most, logs, the deletion of the
# workers, and the notification.
INTERRUPTED_SECONDS = 5
INTERRUPTED = (130, 143)
# The exit codes after which a Job tries again.
TRIED_AGAIN = (3, 4, *INTERRUPTED)


class RunReport:
    """What is to be known of one run when all else of it is gone. No method raises: what fails is a warning."""

    def __init__(self, place: Place, history: History) -> None:
        self._place, self._history = place, history
        self._folder = Path(tempfile.mkdtemp(prefix="dask-flow-report-"))
        self._started = time.time()
        self._name: str | None = None
        self._earlier: list[Mapping[str, Any]] = []
        history.logs = self._folder / "logs"
        history.logs.mkdir()
        self._handler = file_handler(history.logs / "runner.log")
        logging.getLogger().addHandler(self._handler)

    @classmethod
    def to(cls, name: str, history: History) -> RunReport:
        """Begin a report that is to be kept there. Raises InputError if it is known that it cannot be."""
        place = Place(name)
        place.check()
        try:
            return cls(place, history)
        except OSError as error:
            raise InputError(f"--report {place}: it is put together in a temporary folder, and {error}") from error

    def take(self, client: Client, *, interrupted: bool) -> None:
        """Save what goes with the cluster: its processes' logs, and Dask's own report of what they did."""
        self._history.save_logs()
        page = page_of(client, self._started, *([INTERRUPTED_SECONDS] if interrupted else []))
        try:
            if page is not None:
                (self._folder / PERFORMANCE).write_text(page, encoding="utf-8")
        except OSError as error:
            log.warning("there is no performance report of Dask's: %s", error)

    def write(
        self, outcome: Outcome, workers: list[Worker], spent: Mapping[str, float], *, interrupted: bool = False
    ) -> str | None:
        """Write all that there is so far, and copy it over what was written before; return where the page is."""
        seconds = INTERRUPTED_SECONDS if outcome.exit_code in INTERRUPTED else WRITE_SECONDS
        errors: list[str] = []
        pages: list[str] = []
        if not interrupted:
            self._add_last_line(outcome)

        def work() -> None:
            try:
                pages.append(f"{self._write(outcome, workers, spent)}/{PAGE}")
                log.info("report: %s", pages[0])
            except Exception as error:
                log.debug("the report could not be written", exc_info=True)
                errors.append(reason(error))

        thread = threading.Thread(target=work, name="report", daemon=True)
        thread.start()
        interrupts.unless_hurried(lambda: thread.join(seconds))
        if interrupts.hurried():
            seconds = INTERRUPTED_SECONDS
            thread.join(seconds)
        if thread.is_alive():
            errors.append(f"it took more than {seconds} s")
        for error in errors:
            log.warning("the report could not be written to %s: %s", self._place, error)
        return pages[0] if pages else None

    def _add_last_line(self, outcome: Outcome) -> None:
        """Have the reason in the file of the log, though the log itself has it after the report."""
        level = logging.ERROR if outcome.exit_code else logging.INFO
        values = {"msg": outcome.reason, "levelno": level, "levelname": logging.getLevelName(level)}
        self._handler.emit(logging.makeLogRecord(values))

    def close(self) -> None:
        """Delete what was gathered here."""
        logging.getLogger().removeHandler(self._handler)
        self._handler.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _write(self, outcome: Outcome, workers: list[Worker], spent: Mapping[str, float]) -> str:
        from dask_flow.report.page import page

        name = self._choose_name()
        report = document(outcome, self._history, workers, spent, time.time())
        report = {
            "run": name,
            "attempt": len(self._earlier) + 1,
            "earlier_attempts": self._earlier,
            **report,
            "files": [*self._files(), PAGE, REPORT],
        }
        (self._folder / REPORT).write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        (self._folder / PAGE).write_text(page(report, self._history, workers), encoding="utf-8")
        return self._place.put(self._folder, name)

    def _files(self) -> list[str]:
        files = (each for each in self._folder.rglob("*") if each.is_file() and each.name not in (PAGE, REPORT))
        return sorted(each.relative_to(self._folder).as_posix() for each in files)

    def _choose_name(self) -> str:
        """Return the name of the run's folder, the same each time; earlier attempts of a Job have had it too."""
        if self._name is None:
            flow = self._history.settings.flow if self._history.settings else ""
            self._name, before = previous(self._place, run_name(os.environ, flow, self._history.began), _is_tried_again)
            if before:
                self._earlier = [*before.get("earlier_attempts", []), summary(before)]
        return self._name


def run_name(env: Mapping[str, str], flow: str, began: float) -> str:
    """Return a run's name: the Job's, with which its pod's begins; elsewhere the flow's, and when it began, in UTC."""
    if env.get("DASK_FLOW_RUN"):  # of a long name, the pod's has only the first 58 characters
        return env["DASK_FLOW_RUN"]
    pod = env.get("DASK_FLOW_POD_NAME")
    if pod:
        return re.sub(r"-[a-z0-9]{5}$", "", pod)
    return f"{folder_name(flow)}-{dt.datetime.fromtimestamp(began, dt.UTC):%Y%m%d-%H%M%S}"


def _is_tried_again(report: Mapping[str, Any]) -> bool:
    return report.get("exit_code") in TRIED_AGAIN
