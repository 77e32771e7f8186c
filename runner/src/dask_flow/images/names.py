"""Names of images: `registry/repository:tag`."""

from __future__ import annotations

import re

from dask_flow.errors import InputError

__all__ = ["is_local", "registry", "repository", "slug", "tagged"]


def registry(image: str) -> str | None:
    """Return the registry's host in an image's name; None for a name of this machine or of Docker Hub.

    The first part is a host if it has a dot or a port: https://pkg.go.dev/github.com/distribution/reference.
    """
    host, slash, _ = image.partition("/")
    return host if slash and ("." in host or ":" in host) else None


def is_local(host: str | None) -> bool:
    """Return whether a registry is on this machine, where docker and containerd speak HTTP with it."""
    return bool(re.fullmatch(r"(localhost|127(\.\d+){3}|\[::1\])(:\d+)?", host or ""))


def repository(image: str) -> str:
    """Return an image's name without its tag."""
    return re.sub(r":[^:/]*$", "", image)


def tagged(image: str) -> str:
    """Return an image's name with a tag, `latest` if it has none. Raises InputError for one with a digest."""
    if "@" in image:
        raise InputError(f"--image {image}: the digest is the registry's to give; name NAME:TAG")
    return image if image != repository(image) else f"{image}:latest"


def slug(name: str) -> str:
    """Return a flow's name as the name of an image."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "flow"
