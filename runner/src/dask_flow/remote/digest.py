"""Ask a registry for the digest of an image: https://distribution.github.io/distribution/spec/api/."""

from __future__ import annotations

import base64
import json
import logging
import re
from collections.abc import Mapping
from typing import Any

import urllib3

from dask_flow import image_names
from dask_flow.errors import InputError
from dask_flow.remote.logins import DOCKER_HUB_NAMES, find_login

__all__ = ["by_digest"]

log = logging.getLogger(__name__)

DOCKER_HUB_API = "registry-1.docker.io"
TIMEOUT_SECONDS = 10
KINDS = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "oci.image.index.v1",
        "oci.image.manifest.v1",
        "docker.distribution.manifest.list.v2",
        "docker.distribution.manifest.v2",
    )
)
CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
OK, UNAUTHORIZED = 200, 401


def by_digest(image: str, env: Mapping[str, str]) -> str:
    """Return the image's name with the digest that its registry has for its tag, for that may be another's tomorrow.

    One without a registry or a user's name in its name, which was not pushed, stays as it is; so does, with a line in
    the log, one whose registry does not tell. The login is the one that a pull secret would be made from.
    """
    on_docker_hub = "/" in image and image_names.registry(image) is None
    host = "docker.io" if on_docker_hub else image_names.pushed_to(image)
    if host is None or "@" in image:
        return image
    try:
        return f"{image_names.repository(image)}@{_digest(host, image, env)}"
    except (urllib3.exceptions.HTTPError, InputError, LookupError, ValueError) as error:
        log.info("%s is named by its tag: its registry does not tell the digest: %s", image, error)
        return image


def _digest(host: str, image: str, env: Mapping[str, str]) -> str:
    """Ask for it. Raises HTTPError, InputError, LookupError or ValueError for whatever prevents that."""
    repository = image_names.repository(image).removeprefix(f"{host}/")
    tag = image_names.tagged(image).rpartition(":")[2]
    if host in DOCKER_HUB_NAMES:
        host, repository = DOCKER_HUB_API, repository if "/" in repository else f"library/{repository}"
    url = f"{'http' if image_names.is_local(host) else 'https'}://{host}/v2/{repository}/manifests/{tag}"
    pool = urllib3.PoolManager(timeout=TIMEOUT_SECONDS, retries=False)
    headers = {"Accept": KINDS}
    answer = pool.request("HEAD", url, headers=headers)
    if answer.status == UNAUTHORIZED:
        headers["Authorization"] = _authorization(pool, answer.headers.get("WWW-Authenticate", ""), _basic(image, env))
        answer = pool.request("HEAD", url, headers=headers)
    if answer.status != OK:
        raise LookupError(f"it answers with status {answer.status}")
    return str(answer.headers["Docker-Content-Digest"])


def _basic(image: str, env: Mapping[str, str]) -> str | None:
    login = find_login("", image, env)
    if login is None:
        return None
    return "Basic " + base64.b64encode(f"{login.username}:{login.password}".encode()).decode()


def _authorization(pool: urllib3.PoolManager, challenge: str, basic: str | None) -> str:
    """Return what the registry asks for: the login itself, or a token that one gets for it, or as nobody."""
    if challenge.lower().startswith("bearer"):
        asked = dict(CHALLENGE.findall(challenge))
        headers = {"Authorization": basic} if basic else {}
        answer = pool.request("GET", asked.pop("realm"), fields=asked, headers=headers)
        token: dict[str, Any] = json.loads(answer.data)
        return f"Bearer {token.get('token') or token['access_token']}"
    if basic is None:
        raise LookupError("it wants a login, and there is none here")
    return basic
