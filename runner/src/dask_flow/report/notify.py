"""Notify people, through Apprise, of how a run ended: once a run, whatever the end.

Apprise is imported by a process of its own, `python -m dask_flow.report.notify`: that takes a quarter of a second and
40 MB, for which no start has to wait; and a service that does not answer is given up by killing the process.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from dask_flow.errors import DaskFlowError, InputError
from dask_flow.history import process_start
from dask_flow.log import described, listed
from dask_flow.report.outcome import Outcome
from dask_flow.settings import NOTIFY_WHEN

__all__ = ["Notifier"]

log = logging.getLogger(__name__)

VARIABLE = "DASK_FLOW_NOTIFY"
SECONDS = 10
# Kubernetes gives a pod that is told to end 30 seconds for all.
INTERRUPTED_SECONDS = 5
API_SECONDS = 3
# Kubernetes deletes a pod first, and writes into the Job why, after that.
JOB_SECONDS = 1
# After these, the Job's podFailurePolicy allows no other attempt.
FINAL = (0, 1, 2)
INTERRUPTED = 128
LONGEST_REASON = 2000
# What is shorter in a URL is no secret, but may be a part of any word.
SHORTEST_SECRET = 4
HIDDEN = "•••"


class Notifier:
    """Those who are to be notified, by Apprise's URLs, which hold secrets: only Apprise's own process gets them."""

    def __init__(self, target: str = "", urls: Sequence[str] = (), when: str = NOTIFY_WHEN[0]) -> None:
        self._target, self._urls, self._when = target, tuple(urls), when
        self._checking: subprocess.Popen[str] | None = None

    def start_check(self) -> None:
        """Have Apprise look at the URLs, while other things go on. Connects to nothing."""
        if self._urls and find_spec("apprise"):
            self._checking = _apprise(self._urls, subprocess.DEVNULL)

    def check(self) -> None:
        """Raise InputError if Apprise is not here, or does not accept one of the URLs."""
        if self._urls and not self._checking:
            raise InputError(
                "--notify needs the package apprise: pip install 'dask-flow[notify]', or in the chart set "
                "EXTRA_PIP_PACKAGES=apprise in flow.env"
            )
        if self._checking:
            refused = {int(number) for number in self._checking.communicate()[0].split()}
            urls, self._urls = self._urls, tuple(url for at, url in enumerate(self._urls) if at not in refused)
            if refused:
                names = [f"URL {at + 1} ({_scheme(urls[at])}…)" for at in sorted(refused)]
                raise InputError(
                    f"--notify: Apprise does not accept {listed(names)} of {len(urls)}: there is no such service, or a "
                    "part of its URL is missing; https://appriseit.com/services/ has their forms"
                )

    def tell(self, outcome: Outcome, flow: str = "", report: str | None = None) -> None:
        """Notify of the end of this attempt, unless another one follows. What fails is a warning.

        `flow` is the flow's name, if it is known, and `report` says where the report is.
        """
        if self._checking:
            self._checking.kill()
            self._checking.communicate()
        if not self._urls or not find_spec("apprise") or self._when == ("success" if outcome.exit_code else "failure"):
            return
        seconds = INTERRUPTED_SECONDS if outcome.exit_code > INTERRUPTED else SECONDS
        until = time.monotonic() + seconds
        try:
            follows, note = _what_follows(outcome.exit_code)
            if follows:
                log.info("nobody is notified: another attempt follows")
                return
            message = _message(outcome, flow or _name_of(self._target), report, note)
            problem = _send(self._urls, message, until)
        except subprocess.TimeoutExpired:
            problem = f"it took more than {seconds} s"
        except OSError as error:
            problem = described(error)
        if problem:
            log.warning("not everybody was notified: %s", problem)


def _what_follows(exit_code: int) -> tuple[bool, str]:
    """Return whether the Job makes another attempt after this one, and what is to be said if that is not known."""
    job_name = os.environ.get("DASK_FLOW_RUN")
    if exit_code in FINAL or not job_name:
        return False, ""
    from dask_flow.kube import Kube, NotFoundError  # where nobody is notified, nobody waits for it

    if exit_code > INTERRUPTED:
        time.sleep(JOB_SECONDS)
    try:
        kube = Kube.in_cluster()
        kube.give_up_in(API_SECONDS)
        return _goes_on(kube.get("jobs.batch", job_name)), ""
    except NotFoundError:
        return False, ""
    except DaskFlowError as error:
        return False, f"Another attempt may follow: {error}"


def _goes_on(job: dict[str, Any]) -> bool:
    """Return whether this Job, one of whose pods is about to fail, makes another."""
    spec, status = job["spec"], job.get("status", {})
    if spec.get("suspend"):
        return True
    ended = any(condition["type"] in ("FailureTarget", "Failed") for condition in status.get("conditions", ()))
    failed = status.get("failed", 0) + len(status.get("uncountedTerminatedPods", {}).get("failed", ()))
    return not ended and "deletionTimestamp" not in job["metadata"] and failed < spec["backoffLimit"]


def _message(outcome: Outcome, flow: str, report: str | None, note: str) -> dict[str, str]:
    """Return the arguments of Apprise's `notify`."""
    from dask_flow.kube import SERVICE_ACCOUNT

    code, job_name, pod = outcome.exit_code, os.environ.get("DASK_FLOW_RUN"), os.environ.get("DASK_FLOW_POD_NAME")
    file = SERVICE_ACCOUNT / "namespace"
    namespace = file.read_text().strip() if file.exists() else ""
    ended = "was interrupted" if code > INTERRUPTED else "failed" if code else "succeeded"
    where = f"run {job_name}{namespace and f' in namespace {namespace}'}" if job_name else f"on {socket.gethostname()}"
    lines = [
        outcome.reason.encode(errors="replace").decode()[:LONGEST_REASON],
        "",
        f"After {dt.timedelta(seconds=round(time.time() - process_start()))}, with exit code {code}.",
        note,
        f"Report: {report}" if report else "",
        f"Log: kubectl logs {namespace and f'-n {namespace} '}{pod}" if pod else "",
    ]
    body = "\n".join(line for number, line in enumerate(lines) if line or number == 1)
    return {"title": f"{flow} {ended}: {where}", "body": body, "notify_type": "failure" if code else "success"}


def _scheme(url: str) -> str:
    found = re.match(r"[a-z][a-z0-9+.-]*://", url)
    return found[0] if found else ""


def _name_of(target: str) -> str:
    return re.split(r"[?#]", target)[0].rpartition("/")[2]


def _send(urls: Sequence[str], message: dict[str, str], until: float) -> str:
    """Send a message, and return what went wrong, without what is secret of the URLs."""
    with _apprise(urls, subprocess.PIPE) as process:
        try:
            _, said = process.communicate(json.dumps(message), timeout=max(1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    if not process.returncode:
        return ""
    lines = (line for line in said.splitlines() if not line.startswith((" ", "Traceback")))
    return _without_secrets(" ".join(lines), urls) or f"Apprise ended with exit code {process.returncode}"


def _without_secrets(text: str, urls: Sequence[str]) -> str:
    """Return a text without the parts of these URLs, hosts included: that of Slack's URL is a token."""
    parts = {part for url in urls for part in re.split(r"[^\w.-]+", url.partition("://")[2])}
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= SHORTEST_SECRET:
            text = text.replace(part, HIDDEN)
    return text


def _apprise(urls: Sequence[str], stdin: int) -> subprocess.Popen[str]:
    """Start this module as a process. A signal for the group of this one does not reach it."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "dask_flow.report.notify"],
        env={**os.environ, VARIABLE: "\n".join(urls)},
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _main() -> int:
    """Send the message on the standard input to the variable's URLs; without one, print which URLs are none."""
    import apprise

    urls, message = os.environ[VARIABLE].split("\n"), sys.stdin.read()
    services = [apprise.Apprise.instantiate(url) for url in urls]
    if not message:
        sys.stdout.write(" ".join(str(number) for number, service in enumerate(services) if not service))
        return 0
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    everybody = apprise.Apprise([service for service in services if service])
    return 0 if everybody.notify(**json.loads(message)) and all(services) else 1


if __name__ == "__main__":
    sys.exit(_main())
