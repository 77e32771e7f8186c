"""A person's calls to the Kubernetes API server, with kubectl's configuration."""

from __future__ import annotations

import datetime as dt
import os
import re
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import urllib3
import yaml

from dask_flow.errors import DaskFlowError, StartupError
from dask_flow.kube import Kube, Server
from dask_flow.kube_refusals import ForbiddenError, NotFoundError, UnauthorizedError, UnreachableError
from dask_flow.log import described
from dask_flow.text import printable

__all__ = ["UserKube"]

WATCHING_PATIENCE_SECONDS = 60
# A connection that was cut off silently is found out, and a log read on from there, after so long a silence.
SILENCE_SECONDS = 60
PAUSE_SECONDS = 0.5
NO_KUBECONFIG = "there is no kubeconfig; have it at ~/.kube/config, or name it in $KUBECONFIG"
STAMPED = re.compile(
    rb"(?P<second>[\d-]{10}T[\d:]{8})(?P<part>\.\d+)?(?P<zone>Z|[-+]\d\d:\d\d) ?(?P<text>.*)", re.DOTALL
)


class UserKube(Kube):
    """Objects of a namespace as a person sees them: a refusal says what that person can do about it.

    No request is repeated, unless `be_patient` was called: a person can do that.
    """

    configuration: Any = None
    """Of the `kubernetes` package; None inside a pod without a kubeconfig."""

    @classmethod
    def from_kubeconfig(
        cls, namespace: str | None = None, context: str | None = None, file: Path | None = None
    ) -> UserKube:
        """Connect as kubectl does: its configuration, current context, and namespace unless others are given."""
        from kubernetes.client import ApiClient, Configuration

        configuration = Configuration()
        # The package would read the variable only once.
        name = str(file) if file else os.environ.get("KUBECONFIG") or "~/.kube/config"
        chosen = _load(name, context, configuration)
        server = Server(
            ApiClient(configuration).rest_client.pool_manager,
            configuration.host,
            lambda: configuration.get_api_key_with_prefix("BearerToken"),
        )
        kube = cls(server, namespace or chosen["context"].get("namespace") or "default", patience_seconds=0)
        kube.configuration = configuration
        kube.where = f"{configuration.host} (context {chosen['name']})"
        return kube

    where = "this cluster"
    """The API server and the context, to be named in messages."""

    def be_patient(self) -> None:
        """From now on, repeat requests while the API server, or the network to it, is away."""
        self._patience_seconds = WATCHING_PATIENCE_SECONDS

    def list_everywhere(self, resource: str, **query: Any) -> list[dict[str, Any]]:
        """Return the objects of a kind in all namespaces."""
        kind, _, group = resource.partition(".")
        root = f"/apis/{group}/v1" if group else "/api/v1"
        return list(self._call("GET", f"{root}/{kind}", **query)["items"])

    def warnings_of(self, name: str, namespace: str | None = None) -> list[dict[str, Any]]:
        """Return the warning Events of an object; none to somebody who may not read Events."""
        path = f"/api/v1/namespaces/{namespace or self.namespace}/events"
        with suppress(DaskFlowError):
            return list(self._call("GET", path, fieldSelector=f"involvedObject.name={name},type=Warning")["items"])
        return []

    def has_namespace(self) -> bool:
        """Return whether the namespace is there, or who knows: not everybody may ask."""
        try:
            self._call("GET", f"/api/v1/namespaces/{self.namespace}")
        except NotFoundError:
            return False
        except StartupError:
            return True
        return True

    def patch(self, resource: str, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Merge this into an object, and return it as it is then."""
        return self._call("PATCH", f"{resource}/{name}", dict(body))

    def delete(self, resource: str, name: str, *, owned_first: bool = False) -> None:
        """Delete one object, if it is there; with `owned_first`, it is gone only when what it owns is."""
        query: dict[str, Any] = {"propagationPolicy": "Foreground"} if owned_first else {}
        with suppress(NotFoundError):
            self._call("DELETE", f"{resource}/{name}", **query)

    def log_lines(self, pod: str, container: str | None = None, *, follow: bool = False) -> Iterator[str]:
        """Yield the lines of a container's log; with `follow`, those to come too, across interruptions, to its end.

        Raises NotFoundError if the pod is gone.
        """
        query = {"timestamps": "true", "follow": str(follow).lower()} | ({"container": container} if container else {})
        last = seen = ""
        while True:
            cut_off = False
            try:
                with self._request("GET", f"pods/{pod}/log", read_seconds=SILENCE_SECONDS, **query) as response:
                    for line in response:
                        last, text = _split(line)
                        if last > seen:
                            yield text
            except (urllib3.exceptions.HTTPError, OSError):
                cut_off = True
            if not follow or not (cut_off or self._is_running(pod, container)):
                return
            time.sleep(PAUSE_SECONDS)
            seen = max(last, seen)
            query |= {"sinceTime": f"{seen[:19]}Z"} if seen else {}

    def _is_running(self, pod: str, container: str | None) -> bool:
        statuses = self.get("pods", pod).get("status", {}).get("containerStatuses", [])
        return any("running" in each.get("state", {}) for each in statuses if container in (None, each["name"]))

    def port(self, pod: str, port: int) -> Any:
        """Open a connection to a port of a pod, and return its socket."""
        from kubernetes.client import ApiException
        from kubernetes.stream.ws_client import portforward_call

        query = urllib.parse.urlencode({"ports": port})
        url = f"{self.configuration.host}{self._url(f'pods/{pod}')}/portforward?{query}"
        authorization = self._server.authorization()
        headers = {"authorization": authorization} if authorization else {}
        try:
            return portforward_call(self.configuration, "GET", url, headers=headers).socket(port)
        except ApiException as error:
            raise StartupError(f"no way to port {port} of pod {pod}: {error.reason}") from error

    def _request(self, *args: Any, **kwargs: Any) -> urllib3.BaseHTTPResponse:
        with self._advised():
            return super()._request(*args, **kwargs)

    @contextmanager
    def _advised(self) -> Iterator[None]:
        """Say with a refusal what a person can do about it."""
        try:
            yield
        except ForbiddenError as error:
            error.args = (
                f"{error.what}; ask for a Role that grants it: docs/submit.md has one with what each command needs",
            )
            raise
        except UnauthorizedError as error:
            raise UnauthorizedError(
                f"{self.where} does not accept your credentials, or not any more (status 401); log in again as you did "
                "to get your kubeconfig, then try kubectl auth whoami"
            ) from error
        except UnreachableError as error:
            raise UnreachableError(
                f"{self.where} cannot be reached: {_cause(error)}; is the cluster up, and is this the context you "
                "mean? See kubectl config get-contexts, and choose with --context"
            ) from error


def _load(name: str, context: str | None, configuration: Any) -> dict[str, Any]:
    """Fill in what kubectl's files have for this context, or their current one, and return it. Raises StartupError."""
    from kubernetes.config import ConfigException
    from kubernetes.config.kube_config import KubeConfigLoader, KubeConfigMerger

    try:
        files = KubeConfigMerger(name)
        if files.config is None:
            raise StartupError(f"no cluster at hand: {NO_KUBECONFIG}")
        if not context and not files.config.safe_get("current-context"):
            raise StartupError(
                f"no cluster at hand: {name} has no current context; choose one with --context, or "
                "kubectl config use-context"
            )
        loader = KubeConfigLoader(files.config, context, config_base_path=None, config_persister=files.save_changes)
        loader.load_and_set(configuration)
        _check_credentials(files.config, loader.current_context, configuration)
        return dict(loader.current_context)
    except (ConfigException, OSError) as error:
        raise StartupError(f"no cluster at hand: {error}") from error
    except (yaml.YAMLError, AttributeError, LookupError, TypeError, ValueError) as error:
        why = described(error) if isinstance(error, yaml.YAMLError) else "it is not as kubectl writes it"
        raise StartupError(
            f"no cluster at hand: {name} is not a kubeconfig: {why}; mend it, or name another"
        ) from error


def _check_credentials(config: Any, context: Any, configuration: Any) -> None:
    """Raise UnauthorizedError if the command that is to give credentials gave none: the package goes on as nobody."""
    user = config["users"].get_with_name(context["context"]["user"])["user"] if "user" in context["context"] else {}
    if user and "exec" in user and not configuration.api_key and not configuration.cert_file:
        raise UnauthorizedError(
            f"no credentials: {user['exec']['command']}, which your kubeconfig names for them, gave none; "
            "log in again as you did to get your kubeconfig, then try kubectl auth whoami"
        )


def _split(line: bytes) -> tuple[str, str]:
    """Split the timestamp off a line of a log, and return it in UTC: a kubelet writes it in its node's time zone."""
    found = STAMPED.fullmatch(line.rstrip(b"\n"))
    if not found:
        return "", ""
    second = dt.datetime.fromisoformat((found["second"] + found["zone"]).decode()).astimezone(dt.UTC)
    part = (found["part"] or b"").decode().ljust(len(".123456789"), "0")
    return f"{second:%Y-%m-%dT%H:%M:%S}{part}", printable(found["text"].decode(errors="replace"))


def _cause(error: BaseException) -> str:
    """Return the first cause of an error in a few words: `Connection refused`."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return str(getattr(error, "strerror", None) or error)
