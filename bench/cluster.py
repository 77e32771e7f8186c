"""What the benchmarks do with a cluster: commands, a release of the chart, a run of it."""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kubernetes import client

__all__ = ["MEBIBYTES", "install", "kubectl", "namespace", "parser", "run", "start"]

CHART = Path(__file__).parents[1] / "charts/dask-flow"

# Defines mebibytes(): the proportional set size of all processes of the pod that it is called in, but those left out.
MEBIBYTES = """
import glob

def mebibytes(but=()):
    kilobytes = 0
    for path in glob.glob("/proc/[0-9]*/smaps_rollup"):
        if int(path.split("/")[2]) not in but:
            with open(path) as file:
                kilobytes += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    return kilobytes / 1024
"""


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of the options that all benchmarks have."""
    arguments = argparse.ArgumentParser(description=description)
    arguments.add_argument("--image", default="localhost/dask-flow:dev", help="of all pods")
    arguments.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    return arguments


@contextmanager
def namespace(name: str) -> Iterator[None]:
    """Make a namespace, and delete it afterwards with all that is in it."""
    kubectl("create", "namespace", name)
    try:
        yield
    finally:
        kubectl("delete", "namespace", name)


def install(namespace: str, image: str, values: dict[str, Any], release: str = "bench") -> None:
    """Install the chart; its image is NAME:TAG."""
    repository, tag = image.rsplit(":", 1)
    values = {"image": {"repository": repository, "tag": tag}, **values}
    run("helm", "install", release, str(CHART), "-n", namespace, "-f", "-", stdin=json.dumps(values))


def start(namespace: str, name: str, release: str = "bench") -> None:
    """Create a Job from the release's template."""
    batch = client.BatchV1Api()
    template = batch.read_namespaced_cron_job(f"{release}-dask-flow", namespace).spec.job_template
    metadata = client.V1ObjectMeta(name=name, labels=template.metadata.labels)
    batch.create_namespaced_job(namespace, client.V1Job(metadata=metadata, spec=template.spec))


def kubectl(*arguments: str, check: bool = True) -> str:
    """Return what kubectl prints."""
    return run("kubectl", *arguments, check=check)


def run(*command: str, stdin: str = "", check: bool = True) -> str:
    """Return what a command prints; one that fails ends the program."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise SystemExit(f"{' '.join(command[:4])} … failed:\n{done.stderr}")
    return done.stdout
