"""A mapped task's cost in Prefect 3 on Dask, with a server of its own: `prefect3.py TASKS [quiet]`.

Needs prefect-dask.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from measured import increment, measure

START_TIMEOUT_SECONDS = 120


@contextmanager
def server() -> Iterator[None]:
    """Start Prefect's server with an empty database, and have this process and its workers use it."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        os.environ["PREFECT_HOME"] = folder
        os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
        if "quiet" in sys.argv:
            os.environ["PREFECT_LOGGING_LEVEL"] = "WARNING"  # its default is lines for each task, sent to the server
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            wait_for(f"http://127.0.0.1:{port}/api/health", process)
            os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
            yield
        finally:
            process.terminate()
            process.wait()


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit("Prefect's server ended at its start; what it printed is above")
        try:
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise SystemExit(f"Prefect's server did not answer at {url} within {START_TIMEOUT_SECONDS} s")


def mapped(address: str, tasks: int) -> list[int]:
    from prefect import flow, task
    from prefect_dask import DaskTaskRunner

    @flow(task_runner=DaskTaskRunner(address=address))
    def run() -> list[int]:
        return list(task(increment).map(range(tasks)).result())

    return run()


if __name__ == "__main__":
    with server():
        measure(mapped)
