"""Build the image of a flow: what it declares, and the command's options → a Dockerfile → docker, podman or buildah.

`plan` says what is to be in the image, `dockerfile` renders that, `context` puts the files together, `builders` calls
the builder, `failures` says what it meant when it failed.
"""

from __future__ import annotations

import dataclasses
import logging
import tempfile
from pathlib import Path

from dask_flow import image_names, targets
from dask_flow.errors import InputError
from dask_flow.images import builders, failures
from dask_flow.images.builders import Builder
from dask_flow.images.context import stage
from dask_flow.images.dockerfile import render
from dask_flow.images.plan import OURS, BuildOptions, ImagePlan, plan
from dask_flow.log import timed

__all__ = ["BuildOptions", "Built", "ImagePlan", "build", "planned", "render"]

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Built:
    """An image that was built. `target` is the flow in it; `digest` the registry's, if it was pushed."""

    image: str
    target: str
    digest: str | None = None

    @property
    def reference(self) -> str:
        """What a pod is to name: the image by its digest if it was pushed, else by its tag."""
        return f"{image_names.repository(self.image)}@{self.digest}" if self.digest else self.image

    @property
    def chart_options(self) -> str:
        """The options by which helm gives it to the chart."""
        tag = self.image.removeprefix(f"{image_names.repository(self.image)}:")
        version = f"image.digest={self.digest}" if self.digest else f"image.tag={tag}"
        return f"--set-string image.repository={image_names.repository(self.image)},{version},flow.target={self.target}"


def planned(target: str, options: BuildOptions) -> ImagePlan:
    """Load the flow that `target` names, and say what its image is to be. Raises InputError; builds nothing."""
    try:
        loaded = targets.load(target)
    except InputError as error:
        raise failures.of_loading_here(error) from error
    return plan(target, loaded, options)


def build(image: ImagePlan, builder_name: str | None = None) -> Built:
    """Build the image, in which the flow is loaded as a check, and push it if it is to be pushed.

    `builder_name` is one of `BUILDERS`; without it, the first of them that works. Its output goes to stderr.
    Raises InputError: no builder works, it failed, the flow cannot be loaded, the registry refused the image.
    """
    builder = builders.find(builder_name, image.docker_host)
    with timed(f"{image.name} is built by {builder.name}"):
        _build(image, builder)
    digest = None
    if image.push:
        with timed(f"{image.name} is pushed"):
            digest = _push(image, builder)
    built = Built(image.name, image.code.target, digest)
    log.info("in the chart: %s", built.chart_options)
    return built


def _build(image: ImagePlan, builder: Builder) -> None:
    """Build from the user's Dockerfile if there is one, in the working directory, and then from ours."""
    base = builder.base_arguments(image)
    if image.dockerfile:
        done = builder.build(image.name, image.dockerfile, Path(), [*base, *builder.arguments(image)])
        if done.code:
            raise failures.of_build(done, image, image.dockerfile)
        base = []
    with tempfile.TemporaryDirectory(prefix="dask-flow-build-") as folder:
        dockerfile = Path(folder, OURS, "Dockerfile")
        stage(image, Path(folder))
        dockerfile.write_text(render(image), encoding="utf-8")
        done = builder.build(image.name, dockerfile, Path(folder), [*base, *builder.arguments(image)])
    if done.code:
        raise failures.of_build(done, image)


def _push(image: ImagePlan, builder: Builder) -> str | None:
    done, digest = builder.push(image.name)
    if done.code:
        raise failures.of_push(done, image.name)
    return digest
