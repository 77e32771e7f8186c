"""Find a login for an image registry, as docker and podman keep it or as the environment has it."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dask_flow import image_names
from dask_flow.errors import InputError

__all__ = ["DOCKER_HUB_NAMES", "Login", "find_login", "registry_of"]

DOCKER_HUB = "https://index.docker.io/v1/"
DOCKER_HUB_NAMES = {"docker.io", "index.docker.io", "registry-1.docker.io"}
HELPER_SECONDS = 60


@dataclasses.dataclass(frozen=True)
class Login:
    """Who may pull from a registry. `source` says where it was found."""

    server: str
    username: str
    password: str = dataclasses.field(repr=False)
    source: str = dataclasses.field(compare=False)
    email: str | None = None

    def docker_config(self) -> dict[str, Any]:
        """Return the content of a Secret of the type kubernetes.io/dockerconfigjson."""
        auth = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        entry = {"username": self.username, "password": self.password, "auth": auth}
        return {"auths": {self.server: entry | ({"email": self.email} if self.email else {})}}


def registry_of(image: str) -> str:
    """Return the registry that an image is pulled from, as logins name it."""
    return image_names.registry(image) or DOCKER_HUB


def find_login(secret: str, image: str, env: Mapping[str, str]) -> Login | None:
    """Return a login for the image's registry; None if there is none.

    The environment comes first: DOCKER_USERNAME and DOCKER_PASSWORD, with DOCKER_SERVER and DOCKER_EMAIL if they are
    there, or what Prefect had as a Secret: PREFECT__CONTEXT__SECRETS__<SECRET>, JSON with keys such as docker-username.
    Then the files of docker and podman, and the credential helpers that they name. Raises InputError for what is there
    but cannot be used.
    """
    return _of_environment(secret, image, env) or next(_of_files(image, env), None)


def _of_environment(secret: str, image: str, env: Mapping[str, str]) -> Login | None:
    variable = f"PREFECT__CONTEXT__SECRETS__{secret.upper().replace('-', '_')}"
    given: Mapping[str, Any]
    if variable in env:
        given, source = _parsed(env[variable], variable), variable
        names = {key: f"docker-{key}" for key in ("server", "username", "password", "email")}
    else:
        given, source = env, "DOCKER_USERNAME and DOCKER_PASSWORD"
        names = {key: f"DOCKER_{key.upper()}" for key in ("server", "username", "password", "email")}
    username, password = given.get(names["username"]), given.get(names["password"])
    if not username and not password:
        return None
    if not username or not password:
        missing = names["password" if username else "username"]
        raise InputError(f"{missing} is not set, but the other of user name and password is; set both, or none")
    server = given.get(names["server"]) or registry_of(image)
    return Login(DOCKER_HUB if _plain(server) in DOCKER_HUB_NAMES else server, username, password, source,
                 given.get(names["email"]))  # fmt: skip


def _of_files(image: str, env: Mapping[str, str]) -> Iterator[Login]:
    wanted = _names(image)
    for path in _files(env):
        if not path.is_file():
            continue
        config = _parsed(_text(path), str(path))
        helpers = {_plain(key): (key, helper) for key, helper in (config.get("credHelpers") or {}).items()}
        auths = {_plain(key): (key, entry or {}) for key, entry in (config.get("auths") or {}).items()}
        for name in wanted:
            if name in helpers:
                yield from _of_helper(helpers[name][1], helpers[name][0], env)
            if name in auths:
                key, entry = auths[name]
                yield from _of_entry(key, entry, path)
                if config.get("credsStore") and not entry.get("auth"):
                    yield from _of_helper(config["credsStore"], key, env)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InputError(f"the logins in {path} cannot be read: {why}; mend that, or set DOCKER_CONFIG") from error


def _files(env: Mapping[str, str]) -> list[Path]:
    """Return the files in the order in which they are looked into."""
    home = Path(env.get("HOME") or Path.home())
    docker = Path(env.get("DOCKER_CONFIG") or home / ".docker", "config.json")
    podman = [Path(env["REGISTRY_AUTH_FILE"])] if env.get("REGISTRY_AUTH_FILE") else []
    podman += [Path(env["XDG_RUNTIME_DIR"], "containers/auth.json")] if env.get("XDG_RUNTIME_DIR") else []
    return [docker, *podman, Path(env.get("XDG_CONFIG_HOME") or home / ".config", "containers/auth.json")]


def _names(image: str) -> list[str]:
    """Return how the registry may be named: podman may have a login for a part of it only."""
    registry = _plain(registry_of(image))
    if registry in DOCKER_HUB_NAMES:
        return [registry, *sorted(DOCKER_HUB_NAMES - {registry})]
    path = image.partition("@")[0].split("/")
    path[-1] = path[-1].partition(":")[0] if len(path) > 1 else path[-1]
    return ["/".join(path[:count]) for count in range(len(path), 0, -1)]


def _plain(server: str) -> str:
    """Return a registry's name without scheme and version of its API."""
    return server.rpartition("://")[2].rstrip("/").removesuffix("/v1").removesuffix("/v2")


def _of_entry(key: str, entry: Mapping[str, Any], path: Path) -> Iterator[Login]:
    if entry.get("identitytoken"):
        raise InputError(
            f"{path} has an identity token for {key}, which no pull secret can hold; create an access token there, and "
            "give it by DOCKER_USERNAME and DOCKER_PASSWORD"
        )
    if entry.get("auth"):
        try:
            username, _, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise InputError(f"{path}: the login for {key} is not base64; log in again") from error
        yield Login(key, username, password.rstrip("\0"), str(path))


def _of_helper(helper: str, key: str, env: Mapping[str, str]) -> Iterator[Login]:
    """Ask a credential helper: https://github.com/docker/docker-credential-helpers#development."""
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, "get"],
            input=key,
            capture_output=True,
            text=True,
            check=False,
            timeout=HELPER_SECONDS,
            env={**env},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(
            f"{program}, which your docker configuration names for {key}, does not work: {error}"
        ) from error
    if done.returncode:
        return  # it has none
    answer = _parsed(done.stdout, program)
    if answer.get("Username") == "<token>":
        raise InputError(
            f"{program} has an identity token for {key}, which no pull secret can hold; give a user's name and an "
            "access token by DOCKER_USERNAME and DOCKER_PASSWORD"
        )
    yield Login(key, answer.get("Username", ""), answer.get("Secret", ""), program)


def _parsed(text: str, source: str) -> dict[str, Any]:
    """Return an object of JSON; nothing of the text is in the error, as it may be secret."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InputError(f"{source} is not a JSON object, as it should be")
    return found
