"""A sweep of faults, each done to a run of its own: does the run end as docs/failures.md has it, and is nothing left?

Needs helm, KUBECONFIG, and a cluster that has the image. Prints a table; the exit code is 1 if anything is wrong.
"""

from __future__ import annotations

import json
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/e2e"))

import pytest
from cluster import parser
from fault_table import FAULTS, HOLD, RIGHT, Fault, Values
from namespaces import Namespace, run

ALONE = "the API server is away"
END_SECONDS = 300
GONE_SECONDS = 60
REASON_LENGTH = 120
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--processes", type=int, default=3, help="how many faults at a time")
    arguments.add_argument("--only", default="", metavar="REGEX", help="of the faults, by `kind: name`")
    arguments.add_argument("--api-server", action="store_true", help="stop the API server too: only on tests/node")
    options = arguments.parse_args()
    chosen = [
        (kind, fault)
        for kind, faults in FAULTS.items()
        for fault in faults
        if re.search(options.only, f"{kind}: {fault.name}") and (options.api_server or kind != ALONE)
    ]
    with ThreadPoolExecutor(options.processes) as pool:
        rows = list(pool.map(lambda each: tried(*each, options.image), [each for each in chosen if each[0] != ALONE]))
    rows += [tried(*each, options.image) for each in chosen if each[0] == ALONE]
    print("\n".join(table(rows)))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    sys.exit(any(row["verdict"] != "right" for row in rows))


class Seen(NamedTuple):
    """How a run ended, and what was left of it."""

    outcome: str
    codes: tuple[int, ...] = ()
    reason: str = ""
    log: str = ""
    result: str = ""
    left: frozenset[str] = frozenset()
    seconds: float = 0


def tried(kind: str, fault: Fault, image: str) -> dict[str, str]:
    """Do a fault to a run of its own, and return the table's row."""
    try:
        with place() as at:
            seen = done(fault, at, image)
        verdict = "; ".join(wrong(fault, seen)) or "right"
    except (Exception, pytest.fail.Exception) as error:  # one that cannot be tried does not end the sweep
        traceback.print_exc()
        seen, verdict = Seen("?"), "not tried: " + str(error).partition("\n")[0]
    print(f"# {kind}: {fault.name}: {verdict} ({seen.seconds:.0f} s)", file=sys.stderr, flush=True)
    if verdict != "right":
        print(seen.reason, seen.log, sep="\n", file=sys.stderr, flush=True)
    return row(kind, fault, seen, verdict)


def wrong(fault: Fault, seen: Seen) -> Iterator[str]:
    """Yield what is not as it must be."""
    outcome = fault.outcome or ("failed" if fault.ends[-1] else "complete")
    if seen.outcome != outcome:
        yield f"{seen.outcome}, not {outcome}"
    if seen.codes != fault.ends:
        yield f"exit code {listed(seen.codes)}, not {listed(fault.ends)}"
    text = f"{seen.log}\n{seen.reason}" if fault.ends[:1] == (0,) else seen.reason
    if not re.search(fault.words, text, re.DOTALL):
        yield f"nothing says `{fault.words}`"
    if CONTROL.search(seen.reason):
        yield "control characters in the reason"
    if fault.ends[-1:] == (0,) and not seen.result.startswith(fault.result):
        yield f"result {seen.result or 'missing'}"
    if fault.ends != (1,) and "Traceback" in seen.log:
        yield "traceback in the log"
    if seen.left:
        yield f"left: {listed(sorted(seen.left))}"
    if fault.seconds and seen.seconds > fault.seconds:
        yield f"took {seen.seconds:.0f} s, not {fault.seconds:.0f} s"


def reason_of(end: Mapping[str, Any]) -> str:
    """Return a container's termination message, or, where that is but the log's end, Kubernetes' own word."""
    message = end.get("message", "")
    return message if message and not re.match(r"\d\d:\d\d:\d\d ", message) else end.get("reason", "")


def row(kind: str, fault: Fault, seen: Seen, verdict: str) -> dict[str, str]:
    return {
        "kind": kind,
        "fault": fault.name,
        "Job": seen.outcome,
        "exit codes": listed(seen.codes),
        "reason": shortened(seen.reason.partition("\n")[0]),
        "result": "right" if seen.result == RIGHT else shortened(seen.result),
        "left": listed(sorted(seen.left)),
        "s": f"{seen.seconds:.0f}",
        "verdict": verdict,
    }


def shortened(text: str) -> str:
    """Return both ends of a text: Dask's words come first, and Kubernetes' last."""
    half = REASON_LENGTH // 2
    return text if len(text) <= REASON_LENGTH else f"{text[:half]} … {text[-half:]}"


def listed(items: Sequence[object]) -> str:
    return ", ".join(map(str, items)) or "none"


def table(rows: list[dict[str, str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table, and how many faults are right."""
    yield f"| {' | '.join(rows[0])} |"
    yield "|---" * len(rows[0]) + "|"
    for cells in rows:
        yield f"| {' | '.join(CONTROL.sub('�', text).replace('|', '/') for text in cells.values())} |"
    yield f"\n{sum(cells['verdict'] == 'right' for cells in rows)} of {len(rows)} faults ended as they must."


class Place(Namespace):
    """A release in a namespace of its own, and what is done there."""

    PAUSE_SECONDS = 0.5

    def pods(self, component: str) -> list[str]:
        selector = f"app.kubernetes.io/component={component}"
        return self.kubectl("get", "pods", "-l", selector, "-o", "name").replace("pod/", "").split()

    def signal(self, pod: str, process: str, number: int) -> None:
        """Send a signal to a process of a pod, and maybe with it to the one that does so."""
        code = f"import psutil; process = {process}; print('there', flush=True); process.send_signal({number})"
        if "there" not in self.kubectl("exec", pod, "--", "python", "-c", code, check=False):
            raise ProcessLookupError(f"pod {pod} had ended before its process could get signal {number}")

    def evict(self, pod: str) -> None:
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
        path = f"/api/v1/namespaces/{self.name}/pods/{pod}/eviction"
        self.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))

    def limit(self, limits: Values) -> None:
        """Make a quota or a LimitRange, and wait until a quota holds."""
        self.apply(limits)
        if limits["kind"] == "ResourceQuota":
            self.wait_for(lambda: "used" in self.get("resourcequota", "full").get("status", {}), "the quota")

    def hold(self) -> None:
        """Have the workers' pods stay when they are deleted, until `let_go`."""
        self._finalizers([HOLD])

    def let_go(self) -> None:
        self._finalizers([])

    def _finalizers(self, names: list[str]) -> None:
        patch = json.dumps({"metadata": {"finalizers": names}})
        for pod in self.pods("worker"):
            self.kubectl("patch", "pod", pod, "--type=merge", "-p", patch, check=False)

    def wait_until_running(self) -> None:
        self.wait_for_log("RUNNING", seconds=120)
        self.wait_for(lambda: len(self.workers("Running")) > 1, "two workers")

    def wait_until_closing(self) -> None:
        def deleted() -> bool:
            pods = self.get("pods", "-l", "app.kubernetes.io/component=worker")["items"]
            return any("deletionTimestamp" in pod["metadata"] for pod in pods)

        self.wait_for(deleted, "the clean-up")

    def over(self) -> dict[str, Any] | None:
        """Return the condition by which the Job is over, if it is."""
        job = json.loads(self.kubectl("get", "job", "run", "-o", "json", check=False) or "{}")
        conditions = job.get("status", {}).get("conditions", [])
        return next((condition for condition in conditions if condition["type"] in ("Complete", "Failed")), None)

    def settled(self, left: Callable[[], set[str]]) -> set[str]:
        """Wait until nothing is left, and return what is if that takes too long."""
        deadline = time.monotonic() + GONE_SECONDS
        while (names := left()) and time.monotonic() < deadline:
            time.sleep(self.PAUSE_SECONDS)
        return names


@contextmanager
def place() -> Iterator[Place]:
    """Make a namespace, and delete it afterwards with all that is in it."""
    made = Place()
    made.create()
    try:
        yield made
    finally:
        made.delete()
        run("kubectl", "label", "nodes", "--all", f"{made.name}-")
        run("kubectl", "wait", "--for=delete", f"namespace/{made.name}", f"--timeout={GONE_SECONDS}s")


def done(fault: Fault, at: Place, image: str) -> Seen:
    """Start a run, do the fault to it, and return how it ended."""
    final = len(fault.ends) == 1 and fault.ends[0] > 2  # noqa: PLR2004 - of what is tried again
    values: dict[str, Any] = {
        "flow": {"files": {"flow.py": fault.flow}},
        "cluster": {"minWorkers": 2, "maxWorkers": 2, "startupTimeoutSeconds": 60, **fault.cluster},
        "run": {"backoffLimit": 0 if final else 1},
    }
    for key, more in fault.values.items():
        values[key] = {**values[key], **more} if key in values else more
    at.install("r", "--wait", image=image, **values)
    if fault.limits:
        at.limit(fault.limits)
    before, began = at.objects(), time.time()
    at.start()
    if fault.do:
        began = inject(fault, at)
    return end(fault, at, before, began)


def inject(fault: Fault, at: Place) -> float:
    """Do the fault when it is time, and return when that was."""
    if fault.when == "starting":
        at.wait_for_log("is not scheduled")
    elif HOLD not in str(fault.cluster):
        at.wait_until_running()
    try:
        if fault.when == "closing":
            at.hold()
            at.wait_until_closing()
        began = time.time()
        fault.do(at)
    finally:
        at.let_go()
        if fault.when == "starting":
            run("kubectl", "label", "nodes", "--all", f"{at.name}=go")
    return began


def end(fault: Fault, at: Place, before: set[str], began: float) -> Seen:
    """Wait for the run's end, and return what it was and what is left, before and after the deletion of the Job."""
    if fault.outcome == "gone":
        left = at.settled(lambda: at.objects() - before)
        return Seen("gone", left=frozenset(left), seconds=time.time() - began)
    condition = at.wait_for(at.over, "the Job's end", END_SECONDS)
    left = set() if fault.remains else at.settled(lambda: at.left(before))
    runners = at.runners()
    logs = [at.kubectl("logs", runner["metadata"]["name"], check=False) for runner in runners]
    ends = [runner["status"]["containerStatuses"][0]["state"].get("terminated", {}) for runner in runners]
    at.kubectl("delete", "job", "run", "--wait=false")
    left |= at.settled(lambda: at.objects() - before)
    if not ends:
        return Seen(
            condition["type"].lower(), (), f"{condition['reason']}: {condition['message']}", left=frozenset(left)
        )
    results = re.findall(r"result of \w+: (.*)", logs[-1])
    return Seen(
        condition["type"].lower(),
        tuple(end.get("exitCode", -1) for end in ends),
        reason_of(ends[0]),
        "".join(logs),
        results[0] if results else "",
        frozenset(left),
        datetime.fromisoformat(ends[0]["finishedAt"]).timestamp() - began,
    )


if __name__ == "__main__":
    main()
