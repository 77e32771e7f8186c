"""The Secret by which pods pull an image from a private registry: is it there, and if not, make it."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dask_flow.errors import InputError
from dask_flow.kube_refusals import ForbiddenError, NotFoundError
from dask_flow.remote.logins import Login, find_login, registry_of

if TYPE_CHECKING:
    from dask_flow.user_kube import UserKube

__all__ = ["check_or_make", "set_up", "wishes_of"]

log = logging.getLogger(__name__)

TYPE = "kubernetes.io/dockerconfigjson"
KEY = ".dockerconfigjson"


def wishes_of(target: str) -> tuple[tuple[str, ...], str | None]:
    """Return the pull secrets and the image that a flow asks for. Raises InputError if it cannot be loaded here."""
    from dask_flow import declarations, targets

    declared = declarations.settings_of(targets.load(target).flow)
    return declared.get("image_pull_secrets", ()), declared.get("image")


def set_up(kube: UserKube, secret: str, image: str, env: Mapping[str, str], *, force: bool = False) -> None:
    """Check that the Secret is there; make it from a login that is found here if not, or if `force` says so.

    The login is for the registry of `image`, which is Docker Hub for none.
    Raises InputError if there is neither, or if what is there is no pull secret.
    """
    found = None if force else _found(kube, secret)
    if found is not None:
        _check(found, image)
        log.info("pull secret %s is there; it stays as it is", secret)
        return
    login = find_login(secret, image, env)
    registry = registry_of(image)
    if login is None:
        raise InputError(
            f"namespace {kube.namespace} has no Secret {secret}, and there is no login for {registry} here to make it "
            f"from: run docker login {registry}, or set DOCKER_USERNAME and DOCKER_PASSWORD"
        )
    if force:
        kube.delete("secrets", secret)
    kube.create("secrets", _secret(secret, login))
    log.info("pull secret %s made for %s, from %s", secret, login.server, login.source)


def check_or_make(kube: UserKube, secret: str, image: str, env: Mapping[str, str]) -> None:
    """Do so for a run, which may well be made by who may not read Secrets."""
    try:
        set_up(kube, secret, image, env)
    except ForbiddenError as error:
        log.warning("pull secret %s is not checked: %s", secret, error)


def _found(kube: UserKube, secret: str) -> dict[str, Any] | None:
    try:
        return kube.get("secrets", secret)
    except NotFoundError:
        if not kube.has_namespace():
            raise InputError(f"there is no namespace {kube.namespace} at {kube.where}; give another with -n") from None
        return None


def _check(found: Mapping[str, Any], image: str) -> None:
    """Raise InputError if the Secret is of another kind; log a warning if it is for other registries."""
    name = found["metadata"]["name"]
    if found.get("type") != TYPE:
        raise InputError(
            f"Secret {name} is no pull secret: its type is {found.get('type')}, not {TYPE}; name another, or have "
            "dask-flow setup --force replace it"
        )
    try:
        servers = list(json.loads(base64.b64decode(found["data"][KEY]))["auths"])
    except (KeyError, ValueError, TypeError):
        servers = []
    host = _host(registry_of(image))
    if image and host not in map(_host, servers):
        log.warning(
            "pull secret %s is for %s, and the image %s is not there", name, ", ".join(servers) or "none", image
        )


def _host(server: str) -> str:
    return server.rpartition("://")[2].partition("/")[0]


def _secret(name: str, login: Login) -> dict[str, Any]:
    content = json.dumps(login.docker_config()).encode()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "dask-flow"}},
        "type": TYPE,
        "data": {KEY: base64.b64encode(content).decode()},
    }
