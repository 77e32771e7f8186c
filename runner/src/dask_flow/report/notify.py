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
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from importlib.util import find_spec
from typing import Any
from urllib.parse import unquote

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
REFUSED = "refused: "
SCHEME = "(?i:[a-z][a-z0-9+.-]*)://"


class Notifier:
    """Those who are to be notified, by Apprise's URLs, which hold secrets: only Apprise's own process gets them.

    A text has URLs separated by blanks, lines or commas. Its lines that begin with # are comments.
    """

    def __init__(self, target: str = "", texts: Sequence[str] = (), when: str = NOTIFY_WHEN[0]) -> None:
        self._target, self._when = target, when
        urls = (url for text in texts for url in _split(text))
        self._urls = {f"URL {number} ({_scheme(url)}…)": url for number, url in enumerate(urls, 1)}
        self._checking: subprocess.Popen[str] | None = None

    def start_check(self) -> None:
        """Have Apprise look at the URLs, while other things go on. Connects to nothing."""
        if self._urls and find_spec("apprise"):
            self._checking = _apprise(self._urls.values(), subprocess.DEVNULL)

    def check(self) -> None:
        """Raise InputError if Apprise is not here, or does not accept one of the URLs."""
        if self._urls and not self._checking:
            raise InputError(
                "--notify needs the package apprise: pip install 'dask-flow[notify]', or in the chart set "
                "EXTRA_PIP_PACKAGES=apprise in flow.env"
            )
        if self._checking:
            answer, errors = self._checking.communicate()
            if self._checking.returncode:
                reason = _without_secrets(listed(errors.splitlines()[-1:]), self._urls.values())
                raise InputError(f"--notify: Apprise ended with exit code {self._checking.returncode}: {reason}")
            # What a module that starts with Python prints comes before it.
            refused = set(map(int, answer.rpartition(REFUSED)[2].split()))
            count, names = len(self._urls), [name for at, name in enumerate(self._urls) if at in refused]
            self._urls = {name: url for name, url in self._urls.items() if name not in names}
            if names:
                raise InputError(
                    f"--notify: Apprise does not accept {listed(names)} of {count}: there is no such service, or a "
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
        problem = ""
        try:
            follows, note = _what_follows(outcome.exit_code)
            if follows:
                log.info("nobody is notified: another attempt follows")
                return
            message = _message(outcome, flow or _name_of(self._target), report, note)
            problem = _send(self._urls, message, until, f"it took more than {seconds} s")
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


def _split(text: str) -> list[str]:
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return re.sub(rf",+(?=\s|$|{SCHEME})", " ", "\n".join(lines)).split()


def _scheme(url: str) -> str:
    found = re.match(SCHEME, url)
    return found[0] if found else ""


def _name_of(target: str) -> str:
    return re.split(r"[?#]", target)[0].rpartition("/")[2]


def _send(urls: Mapping[str, str], message: dict[str, str], until: float, late: str) -> str:
    """Send a message, and return what went wrong with which URLs, without what is secret of them."""
    with _apprise(urls.values(), subprocess.PIPE) as process:
        try:
            sent, errors = process.communicate(json.dumps(message), timeout=max(1, until - time.monotonic()))
            unknown = f"Apprise ended with exit code {process.returncode}"
        except subprocess.TimeoutExpired:
            process.kill()
            sent, errors = process.communicate()
            unknown = late
    reasons, notified = _reasons(errors), sent.split()
    return "; ".join(
        f"{name}: {_without_secrets(reasons.get(str(at), ''), urls.values()) or unknown}"
        for at, name in enumerate(urls)
        if str(at) not in notified
    )


def _reasons(errors: str) -> dict[str, str]:
    """Return what Apprise logged by the URLs' places; lines without one, of tracebacks, belong to those before."""
    reasons: dict[str, str] = {}
    at = "0"
    for line in errors.splitlines():
        found = re.match(r"(\d+)\t", line)
        at, text = (found[1], line[found.end() :]) if found else (at, line)
        if not text.startswith((" ", "Traceback")):
            reasons[at] = f"{reasons.get(at, '')} {text}".lstrip()
    return reasons


def _without_secrets(text: str, urls: Iterable[str]) -> str:
    """Return a text without the parts of these URLs, hosts included: that of Slack's URL is a token."""
    texts = [url.partition("://")[2] for url in urls]
    parts = {part for text in texts for part in re.split(r"[^\w.-]+", text)}
    parts |= {unquote(part) for text in texts for part in re.split("[/?&=@:]+", text)}
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= SHORTEST_SECRET:
            text = text.replace(part, HIDDEN)
    return text


def _apprise(urls: Iterable[str], stdin: int) -> subprocess.Popen[str]:
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
    """Send the message on the standard input to the variable's URLs, and print the places of those that took it.

    Without a message, print the places of those that are no URLs.
    """
    import apprise

    place = ContextVar("place", default=0)

    def mark(record: logging.LogRecord) -> bool:
        record.place = place.get()
        return True

    def send(at: int, service: Any) -> None:
        place.set(at)
        if service and apprise.Apprise([service]).notify(**json.loads(message)):
            sys.stdout.write(f"{at}\n")
            sys.stdout.flush()

    handler = logging.StreamHandler()
    handler.addFilter(mark)
    logging.basicConfig(format="%(place)s\t%(message)s", level=logging.WARNING, handlers=[handler])
    message, services = sys.stdin.read(), []
    for at, url in enumerate(os.environ[VARIABLE].split("\n")):
        place.set(at)
        services.append(apprise.Apprise.instantiate(url))
    if not message:
        sys.stdout.write(REFUSED + " ".join(str(at) for at, service in enumerate(services) if not service))
        return 0
    with ThreadPoolExecutor(len(services)) as pool:
        list(pool.map(send, range(len(services)), services))
    return 0


if __name__ == "__main__":
    sys.exit(_main())
