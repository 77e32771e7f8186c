"""What the objects of any attempt of a run go through: watched, deleted. Knows Kubernetes, not Dask."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from dask_flow import interrupts
from dask_flow.clusters.deadline import Deadline
from dask_flow.clusters.pod_logs import PodLogs
from dask_flow.errors import DaskFlowError
from dask_flow.history import History
from dask_flow.kube import Kube
from dask_flow.log import listed, logged
from dask_flow.manifests import RunIdentity, permissions
from dask_flow.pod_status import Problem, gates, has_begun, has_ended, is_ready, mount_problem, problem
from dask_flow.settings import RunSettings
from dask_flow.specs import Templates

__all__ = ["CLEAN_UP_GRACE_SECONDS", "CLEAN_UP_TIMEOUT_SECONDS", "Attempt"]

log = logging.getLogger(__name__)

CLEAN_UP_GRACE_SECONDS = 1
CLEAN_UP_TIMEOUT_SECONDS = 20
# An API server that is away when the flow ends may come back; the Job's pod, told to end, has 30 seconds at most.
CLEAN_UP_PATIENCE_SECONDS = 120


class Attempt:
    """The pods of one attempt and what they share; subclasses make them."""

    def __init__(self, kube: Kube, identity: RunIdentity, settings: RunSettings, templates: Templates) -> None:
        self._kube = kube
        self._identity = identity
        self._settings = settings
        self._templates = templates
        self._kinds = [kind for kind, verbs in permissions(settings).items() if "create" in verbs]
        self.scheduler_name = identity.scheduler_name
        self.scheduler_log = f"pod {self.scheduler_name}"
        self.scheduler_address = ""
        self.on_scheduler: Callable[[Problem | None], None]
        """Called, from any thread, with what ended the scheduler's pod, or None when it is ready."""
        self._on_end: Callable[[str, Problem], None] | None = None
        self._history = History()
        self._logs: PodLogs | None = None
        self._pods: dict[str, Mapping[str, Any]] = {}
        self._queue_messages: dict[str, str] = {}
        self._problems: dict[str, Problem] = {}
        self._gone: set[str] = set()
        self._said: set[str] = set()
        self._stop_watch = threading.Event()
        self.closing = False
        self.lost = False
        """Whether the cluster is lost, so that no further pod is of use."""

    @property
    def processes(self) -> int:
        """How many workers each worker pod has."""
        return self._templates.worker.processes

    def note_in(self, history: History) -> None:
        """From now on, note what becomes of workers' pods, and save their logs if somebody wants them."""
        self._history = history
        if history.logs:
            self._logs = PodLogs(self._kube, history.logs)
            history.log_savers.append(self._logs.save_all)

    def follow(self) -> None:
        """Watch the pods, and warnings about them, in threads of their own, from which the callbacks are called."""
        threading.Thread(target=self._follow_pods, name="pod-watch", daemon=True).start()
        threading.Thread(target=self._follow_warnings, name="warning-watch", daemon=True).start()

    def on_end(self, callback: Callable[[str, Problem], None]) -> None:
        """Call back, from any thread, with the name of each worker pod that cannot run or is gone; past ones too."""
        self._on_end = callback
        for name, found in list(self._problems.items()):
            self._tell(name, found)

    def _follow_pods(self) -> None:
        for event, pod in self._kube.watch_pods(self._identity.selector, self._stop_watch):
            if self.closing:
                return
            with logged("what the watch says of a pod"):
                self._seen(event, pod)

    def _seen(self, event: str, pod: Mapping[str, Any]) -> None:
        name = pod["metadata"]["name"]
        if self._logs:
            self._logs.seen(event, pod)
        if not self._is_scheduler(name):
            self._history.pod(name)
        self._pods[name] = pod
        found = problem(pod, self._queue_messages.get(name, ""))
        if event == "DELETED":
            del self._pods[name]
            self._gone.add(name)
        if event == "DELETED" and not (found and has_ended(pod)):
            found = Problem(f"pod {name} was deleted", "deleted", disruption=True)
        if found is not None:
            self._report(name, found)
            return
        self._problems.pop(name, None)
        if self._is_scheduler(name) and is_ready(pod):
            self.on_scheduler(None)

    def _follow_warnings(self) -> None:
        for event in self._warnings():
            if self.closing:
                return
            with logged("a warning of a pod"):
                self._warned(event["involvedObject"]["name"], event)

    def _warnings(self) -> Iterator[dict[str, Any]]:
        return self._kube.watch_warnings(self._stop_watch)

    def _warned(self, name: str, event: Mapping[str, Any]) -> None:
        if event["involvedObject"].get("kind") == "Workload":  # Kueue's, named pod-POD-HASH
            name = name.removeprefix("pod-").rpartition("-")[0]
            found = self._queue_problem(name, event)
        else:
            found = self._warning_problem(event)
        if found and not has_begun(self._pods.get(name, {})) and self._is_ours(name):
            self._report(name, found)

    def _queue_problem(self, name: str, event: Mapping[str, Any]) -> Problem | None:
        """Return what a pod lacks that its queue has not admitted yet, and keep it until that pod is seen."""
        if self._is_ours(name):
            self._queue_messages[name] = " ".join(event.get("message", "").split())
        pod = self._pods.get(name, {})
        return problem(pod, self._queue_messages.get(name, "")) if gates(pod) else None

    def await_admission(self, role: str) -> bool:
        """Return whether all pods of this role, `worker` or `scheduler`, are behind a gate, such as a queue's."""
        pods = [pod for name, pod in list(self._pods.items()) if self._is_scheduler(name) == (role == "scheduler")]
        return bool(pods) and all(map(gates, pods))

    def _warning_problem(self, event: Mapping[str, Any]) -> Problem | None:
        return mount_problem(event)

    def _is_scheduler(self, name: str) -> bool:
        return name == self.scheduler_name

    def _is_ours(self, name: str) -> bool:
        raise NotImplementedError

    def _report(self, name: str, found: Problem) -> None:
        self._problems[name] = found
        note = self._history.pods.get(name)
        if note and found.hopeless and not (note.ends and found.disruption):
            note.ended(found.text)
        self._tell(name, found)

    def _tell(self, name: str, found: Problem) -> None:
        if not found.hopeless:
            self._say_once(name, found)
        elif self._is_scheduler(name):
            self.on_scheduler(found)
        elif self._on_end:
            self._on_end(name, found)

    def _say_once(self, name: str, found: Problem) -> None:
        """Log what a pod waits for, once for all that wait for the same."""
        without_name = found.text.replace(name, "")
        if without_name not in self._said:
            self._said.add(without_name)
            log.info("waiting: %s", found.text)

    def ails(self, name: str) -> bool:
        """Return whether something is known that keeps a pod from running now."""
        return name in self._problems

    def failing(self) -> set[str]:
        """Return the names of the pods that cannot run, for a reason that waiting does not change."""
        problems = list(self._problems.items())
        return {name for name, found in problems if found.hopeless and not found.disruption}

    def refused(self, name: str, error: DaskFlowError) -> Problem:
        """Count a pod that could not be made among those that do not run."""
        found = Problem(f"pod {name} could not be made: {error}", "refused")
        self._problems[name] = found
        return found

    def problems(self) -> list[str]:
        """Return what keeps pods from running now, each in a sentence; of those that are gone, nothing."""
        return sorted({found.text for name, found in list(self._problems.items()) if name not in self._gone})

    def delete_all(self) -> None:
        """Ask for the deletion of all objects of this attempt, and make no more. Failures are logged, not raised.

        Each kind is asked for before any request is repeated.
        """
        if not self.closing:
            self.closing = True
            self._cleanup = Deadline(CLEAN_UP_PATIENCE_SECONDS)
            if self._logs:
                self._logs.save_all()
        self._stop_watch.set()
        self._kube.give_up_in(0)
        failed = self._delete_kinds(self._kinds)
        self._kube.give_up_in(self._cleanup.left)
        if failed:
            again = interrupts.unless_hurried(lambda: self._delete_kinds(failed))
            failed = failed if again is None else again
        for kind, error in failed.items():
            log.warning("the run's %s could not be deleted; they go with the runner's pod: %s", kind, error)

    def _delete_kinds(self, kinds: Iterable[str]) -> dict[str, DaskFlowError]:
        """Return why, by the kinds whose deletion failed."""
        failed = {}
        for kind in kinds:
            try:
                self._delete(kind, self._identity.selector)
            except DaskFlowError as error:
                failed[kind] = error
        return failed

    def _delete(self, kind: str, selector: str) -> list[dict[str, Any]]:
        return self._kube.delete_all(kind, selector, CLEAN_UP_GRACE_SECONDS)

    def wait_until_gone(self) -> None:
        """Delete all, those pods too that were being made at the first deletion, and wait until there are none."""
        self.delete_all()
        selector = self._identity.selector
        try:
            left = interrupts.unless_hurried(lambda: self._kube.wait_until_deleted(selector, CLEAN_UP_TIMEOUT_SECONDS))
        except DaskFlowError as error:
            log.warning("cannot tell whether the worker pods are gone: %s", error)
        else:
            if left:
                log.warning("still being deleted: %s", listed(sorted(left)))
        if interrupts.hurried():
            log.warning("told to end while it cleaned up: Kubernetes does the rest")
