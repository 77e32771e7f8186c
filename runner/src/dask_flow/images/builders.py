"""Call docker, podman or buildah: they take the same arguments, but for a few."""

from __future__ import annotations

import collections
import dataclasses
import logging
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dask_flow import image_names
from dask_flow.errors import InputError
from dask_flow.images.plan import ImagePlan
from dask_flow.settings import BUILDERS

__all__ = ["Builder", "Done", "find"]

log = logging.getLogger(__name__)

KEPT_LINES = 200
CHECK_SECONDS = 30
# docker-py's arguments of a build, https://docker-py.readthedocs.io/en/stable/api.html, as options of the command.
KWARGS = {
    "buildargs": "--build-arg",
    "cache_from": "--cache-from",
    "extra_hosts": "--add-host",
    "forcerm": "--force-rm",
    "labels": "--label",
    "network_mode": "--network",
    "nocache": "--no-cache",
    "platform": "--platform",
    "pull": "--pull",
    "rm": "--rm",
    "shmsize": "--shm-size",
    "squash": "--squash",
    "target": "--target",
}
# Those that have a meaning for a user's own Dockerfile, but not for one that starts from what that made.
OF_THE_BASE = ("pull", "target")


@dataclasses.dataclass(frozen=True)
class Done:
    """How a command ended, and the last lines that it wrote."""

    builder: str
    code: int
    lines: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Builder:
    """One of BUILDERS. `host` is the URL of Docker's daemon, if it is not the usual one."""

    name: str
    host: str | None = None

    @property
    def command(self) -> list[str]:
        """The words that each call begins with."""
        return [self.name, *(["--host", self.host] if self.host else [])]

    def base_arguments(self, image: ImagePlan) -> list[str]:
        """Return the arguments that are for the first Dockerfile only: how to get the image that it starts from."""
        local = ["--pull=false" if self.name == "docker" else "--pull-never"] if image.local_image else []
        return [*local, *_flags({name: value for name, value in image.build_kwargs.items() if name in OF_THE_BASE})]

    def arguments(self, image: ImagePlan) -> list[str]:
        """Return the arguments of every build. Raises InputError for a `build_kwargs` that the command has not."""
        common = {name: value for name, value in image.build_kwargs.items() if name not in OF_THE_BASE}
        return [*_flags(common), *image.builder_arguments]

    def build(self, image: str, dockerfile: Path, context: Path, arguments: list[str]) -> Done:
        """Build an image; its output goes to stderr."""
        words = ["build", *arguments, "-t", image, "-f", str(dockerfile), str(context)]
        return self._run(words)

    def push(self, image: str) -> tuple[Done, str | None]:
        """Push an image, and return its digest too. A registry of this machine may speak HTTP, as for docker."""
        if self.name == "docker":
            done = self._run(["push", image])
            found = re.search(r"digest: (sha256:[0-9a-f]{64})", "\n".join(done.lines))
            return done, found[1] if found else None
        insecure = ["--tls-verify=false"] if image_names.is_local(image_names.registry(image)) else []
        with tempfile.NamedTemporaryFile(prefix="dask-flow-digest-") as file:
            done = self._run(["push", "--digestfile", file.name, *insecure, image])
            return done, Path(file.name).read_text(encoding="utf-8").strip() or None

    def _run(self, words: list[str]) -> Done:
        log.debug("%s", " ".join([*self.command, *words]))
        lines: collections.deque[str] = collections.deque(maxlen=KEPT_LINES)
        with subprocess.Popen(
            [*self.command, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout is not None  # noqa: S101 # it is a pipe
            for line in process.stdout:
                sys.stderr.write(line)
                lines.append(line.rstrip())
        return Done(self.name, process.returncode, tuple(line for line in lines if line))


def find(name: str | None, host: str | None = None) -> Builder:
    """Return the builder of this name, or the first of BUILDERS that works. Raises InputError if none does."""
    if host and name not in (None, "docker"):
        raise InputError(f"Docker(base_url={host!r}) is of docker, and the builder is {name}; leave one of them out")
    wanted = ("docker",) if host else (name,) if name else BUILDERS
    problems = []
    for each in wanted:
        builder = Builder(each, host)
        problem = _problem(builder)
        if problem is None:
            return builder
        problems.append(problem)
    raise InputError(
        f"there is nothing to build an image with: {'; '.join(problems)}. Start one of {', '.join(wanted)}, or install "
        "it; --print shows the Dockerfile"
    )


def _problem(builder: Builder) -> str | None:
    """Return why a builder does not work here; None if it does."""
    if shutil.which(builder.name) is None:
        return f"{builder.name} is not installed"
    command = [*builder.command, "info"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=CHECK_SECONDS)
    except subprocess.TimeoutExpired:
        return f"`{' '.join(command)}` did not answer within {CHECK_SECONDS} s"
    except OSError as error:
        return f"{builder.name} cannot be started: {error.strerror}"
    if done.returncode == 0:
        return None
    lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return f"{builder.name} does not work: {lines[-1].strip() if lines else f'exit code {done.returncode}'}"


def _flags(kwargs: Mapping[str, Any]) -> Iterator[str]:
    """Yield docker-py's arguments as the command's. Raises InputError for one that it has not."""
    for name, value in kwargs.items():
        if name not in KWARGS:
            raise InputError(
                f"Docker(build_kwargs={{{name!r}: …}}) is not here; there is {', '.join(KWARGS)}; "
                "give other arguments of the builder behind --"
            )
        for text in _texts(name, value):
            yield f"{KWARGS[name]}={text}"


def _texts(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [str(value).lower()]
    if isinstance(value, Mapping):
        return [f"{key}{':' if name == 'extra_hosts' else '='}{each}" for key, each in value.items()]
    return [str(each) for each in value] if isinstance(value, list | tuple) else [str(value)]
