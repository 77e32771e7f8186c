"""What the Kubernetes API server refuses, as errors that say what would allow it."""

from __future__ import annotations

import json
import re

from dask_flow.errors import DaskFlowError, InputError, StartupError

__all__ = [
    "BAD_REQUEST",
    "ConflictError",
    "ExistsError",
    "ForbiddenError",
    "NotFoundError",
    "UnauthorizedError",
    "UnknownKindError",
    "UnreachableError",
    "refusal_of",
]

FORBIDDEN = re.compile(
    r'User "(?P<user>[^"]+)" cannot (?P<verb>\w+) resource "(?P<resource>[^"]+)"( in API group "(?P<group>[^"]*)")?'
    r'.*(in the namespace "(?P<namespace>[^"]+)"|at the cluster scope)'
)
# The chart's values with which its Role grants more, by the API group or the kind.
MODE_VALUES = {
    "kubernetes.dask.org": ", cluster.mode=operator",
    "services": ", cluster.scheduler=pod",
    "pods/log": ", report",
}
BAD_REQUEST = 400
UNAUTHORIZED = 401
NOT_FOUND = 404
CONFLICT = 409
UNPROCESSABLE = 422


class NotFoundError(StartupError):
    """The API server has no such object."""


class UnknownKindError(NotFoundError):
    """The API server does not even know this kind of object."""


class ExistsError(StartupError):
    """The API server has an object of this name already."""


class ConflictError(StartupError):
    """Somebody else changed something at the same time, such as the use of a quota: ask again."""


class ForbiddenError(StartupError):
    """The client may not do this; `what` says so without the way out, which depends on who the client is."""

    def __init__(self, what: str, value: str) -> None:
        super().__init__(f"{what}; a Role must grant it (chart: rbac.create=true{value})")
        self.what = what


class UnauthorizedError(StartupError):
    """The API server does not know the client, or not any more."""


class UnreachableError(StartupError):
    """There is no API server at the address."""


def refusal_of(call: str, status: int, body: bytes) -> DaskFlowError:
    """Return the error for a call, such as `POST pods`, that was answered with this status and body."""
    try:
        answer = json.loads(body)
        message, reason = answer["message"], answer.get("reason")
    except (ValueError, KeyError):
        message, reason = body.decode(errors="replace"), None
    if status == NOT_FOUND:  # of a kind that it knows, it says what is not there
        return (NotFoundError if reason else UnknownKindError)(f"{call}: {message}")
    if status == CONFLICT:
        return (ExistsError if reason == "AlreadyExists" else ConflictError)(f"{call}: {message}")
    if status == UNPROCESSABLE or (status == BAD_REQUEST and call.startswith("POST")):
        return InputError(f"the Kubernetes API finds an object of this run not valid: {message}")
    refused = FORBIDDEN.search(message)
    if refused:
        value = MODE_VALUES.get(refused["group"] or refused["resource"], "")
        where = f"namespace {refused['namespace']}" if refused["namespace"] else "all namespaces"
        what = "{user} may not {verb} {resource} in".format(**refused.groupdict())
        return ForbiddenError(f"{what} {where}", value)
    kind = UnauthorizedError if status == UNAUTHORIZED else StartupError
    return kind(f"the Kubernetes API refused {call} with status {status}: {message}")
