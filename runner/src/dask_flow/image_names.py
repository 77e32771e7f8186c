"""Names of images: `registry/repository:tag`, as https://pkg.go.dev/github.com/distribution/reference reads them."""

from __future__ import annotations

import re

from dask_flow.errors import InputError

__all__ = ["check", "is_local", "pushed_to", "registry", "repository", "slug", "tagged"]

HOST = re.compile(r"([a-z0-9]+(-+[a-z0-9]+)*(\.[a-z0-9]+(-+[a-z0-9]+)*)*|\[[0-9a-f:]+\])(:\d+)?", re.IGNORECASE)
PART = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*")
TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)


def registry(image: str) -> str | None:
    """Return the registry's host in an image's name; None if it has none, and is of Docker Hub or of this machine.

    The first part is a host if it has a dot or a port, or is `localhost`.
    """
    host, slash, _ = image.partition("/")
    return host if slash and ("." in host or ":" in host or host == "localhost") else None


def pushed_to(image: str) -> str | None:
    """Return the registry that an image of this name is in once it is pushed; None for one that stays here.

    Podman and buildah call the images of this machine `localhost/…`, without a port.
    """
    host = registry(image)
    return None if host == "localhost" else host


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


def check(image: str) -> None:
    """Raise InputError if this, which has a tag, can be no image's name."""
    host, name = registry(image), repository(image)
    tag = image.removeprefix(f"{name}:")
    wrong = next((each for each in name.removeprefix(f"{host}/").split("/") if not PART.fullmatch(each)), None)
    if host and not HOST.fullmatch(host):
        why = f"its registry {host!r} is not HOST or HOST:PORT"
    elif wrong is not None:
        why = f"its part {wrong!r} is not of small letters and digits, with '.', '_' or '-' between them"
    elif not TAG.fullmatch(tag):
        why = (
            f"its tag {tag!r} is not of at most 128 letters, digits, '_', '.' and '-', the first of them no '.' or '-'"
        )
    else:
        return
    raise InputError(f"the image cannot be called {image!r}: {why}; name it by --image NAME:TAG, or in the storage")


def slug(name: str) -> str:
    """Return a flow's name as the name of an image."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "flow"
