"""What can go wrong in a run, each with the exit code of the command.

DaskFlowError
├── FlowError          1    the flow failed: user code
├── InputError         2    bad input: usage, a spec, a flow that cannot be loaded
│   └── NoModuleError       a package that it needs is not installed here
├── StartupError       3    the cluster could not start
└── ClusterLostError   4    the cluster was lost while the flow ran
Interrupted            128 + the signal's number; not an Exception, so that no `except Exception` holds it up
"""

from __future__ import annotations

import signal
from collections.abc import Iterator

__all__ = [
    "ClusterLostError",
    "DaskFlowError",
    "FlowError",
    "InputError",
    "Interrupted",
    "NoModuleError",
    "StartupError",
    "causes_of",
]


class DaskFlowError(Exception):
    """A run's failure, whose text is the reason in one sentence: what happened, where, and what to do."""

    exit_code: int


class FlowError(DaskFlowError):
    """The flow failed: a task or the user's function raised, or the run took longer than --timeout."""

    exit_code = 1


class InputError(DaskFlowError):
    """The user gave something wrong; nothing was started."""

    exit_code = 2


class NoModuleError(InputError):
    """There is no such module here; elsewhere there may be."""


class StartupError(DaskFlowError):
    """The cluster could not start; another attempt may succeed."""

    exit_code = 3


class ClusterLostError(DaskFlowError):
    """The scheduler or the connection to it was lost while the flow ran; another attempt may succeed."""

    exit_code = 4


def causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, and what it came of, one after the other."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


class Interrupted(BaseException):
    """SIGINT or SIGTERM arrived."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(signum).name}")
        self.exit_code = 128 + signum
