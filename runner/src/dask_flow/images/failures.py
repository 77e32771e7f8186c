"""What it means that an image could not be built or pushed: a sentence that says what to do."""

from __future__ import annotations

import re
from pathlib import Path

from dask_flow import image_names
from dask_flow.errors import InputError
from dask_flow.images.builders import Done
from dask_flow.images.plan import BASE_IMAGE, ImagePlan
from dask_flow.targets.check import MARK

__all__ = ["of_build", "of_loading_here", "of_push"]

SHOWN_LINES = 10
NO_ENTRYPOINT = re.compile(r"dask-flow-entrypoint.*(not found|no such file)", re.IGNORECASE)
REFUSED = re.compile(
    r"(unauthorized|authentication required|no basic auth|denied|invalid username|\b40[13]\b).*", re.IGNORECASE
)
MISSING = re.compile(r"(.+: no module named '((?!prefect\b|dask_flow\b)\w+)[^']*')")


def of_loading_here(error: InputError) -> InputError:
    """Say of a module that is missing on this machine why it is needed here too; leave other errors as they are."""
    missing = MISSING.match(str(error))
    if not missing:
        return error
    return InputError(
        f"{missing[1]} here, where the flow is loaded first for what it declares; install the package that has it"
    )


def of_build(done: Done, image: ImagePlan, dockerfile: Path | None = None) -> InputError:
    """Say why a build failed: that the flow cannot be loaded in the image, or else the builder's last lines."""
    loading = [line.partition(MARK)[2] for line in done.lines if MARK in line]
    if loading:
        return InputError(f"the flow cannot be loaded in the image: {_of_loading(loading[-1])}")
    if any(NO_ENTRYPOINT.search(line) for line in done.lines):
        return InputError(
            f"{image.dockerfile or image.base} has no dask-flow: start from {BASE_IMAGE}, or from this project's "
            "image built on yours (docs/images.md)"
        )
    what = f" from {dockerfile}" if dockerfile else ""
    return InputError(
        f"{done.builder} could not build {image.name}{what} (exit code {done.code}); its last lines:\n{_last(done)}"
    )


def of_push(done: Done, image: str) -> InputError:
    """Say why an image could not be pushed; if the registry does not know the user, how to log in."""
    host = image_names.registry(image) or "docker.io"
    refusals = [found[0] for found in map(REFUSED.search, done.lines) if found]
    if refusals:
        return InputError(
            f"the registry {host} refuses {image}: {refusals[-1]}; log in as a user who may push there: "
            f"{done.builder} login {host}"
        )
    return InputError(f"{done.builder} could not push {image} (exit code {done.code}); its last lines:\n{_last(done)}")


def _of_loading(reason: str) -> str:
    missing = MISSING.match(reason)
    if not missing:
        return reason
    return (
        f"{missing[1]}; add the package that has it: --python-dependency {missing[2]}, "
        f"or python_dependencies=[{missing[2]!r}] in the flow's Docker(…)"
    )


def _last(done: Done) -> str:
    return "\n".join(f"  {line}" for line in done.lines[-SHOWN_LINES:])
