"""What the engine costs a task, beside raw distributed, Prefect 1.4.1 and Prefect 3, and what a flow costs its driver.

Everything runs on two local worker processes of one thread each. Contestants take turns for some rounds, and each one's
results are checked. Ours includes making the flow; with batch=1 each item of a map is a
task of Dask, without it items go in groups. A peer runs in an environment of its own, and is left out if there is none.
Nothing else should run on the machine. Exits with 1 when a figure misses its limit.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from dask_flow import Flow, task
from dask_flow.engine.entry import run_on
from dask_flow.executors import DaskExecutor, on_client
from distributed import Client, LocalCluster
from table import Key, Limit, judge

ROOT = Path(__file__).parents[1]
PARTS = ("map", "graphs", "names", "pauses", "driver")
WARM_UP_TASKS = 100
LAYER_TASKS = 100
PAUSE_SECONDS = 0.05
FORGET_TIMEOUT_SECONDS = 120
FLOWS_PER_ROUND = 3  # made in a second or two, they feel the machine's moods most
IMPORTS = 20

RAW, ONE, OURS, PREFECT1, PREFECT3 = "raw distributed", "dask-flow, batch=1", "dask-flow", "Prefect 1", "Prefect 3"
QUIET = "quiet"  # a peer that logs warnings only, where it logs each task as it comes
MAP, LONG_MAP, PAUSES = "map of 10,000 (µs/task)", "map of 100,000 (µs/task)", "map of 1,000, 50 ms each (µs/task)"
CHAIN, DIAMONDS = "chain of 500 (µs/task)", "diamonds of 2,000 (µs/task)"
LONG_DIAMONDS = "diamonds of 20,000 (µs/task)"
NAME, NAMES = "20,000 of one name (µs/task)", "20,000 of different names (µs/task)"
MAP1, MAP3 = "map of 300 (µs/task)", "map of 100 (µs/task)"
FLOW, LONG_FLOW = "making a flow of 10,000 tasks (s)", "making a flow of 100,000 tasks (s)"
MEMORY, IMPORT = "driver's peak memory, map of 100,000 (MiB)", "import dask_flow (ms)"

Samples = dict[Key, list[float]]
Call = Callable[[Callable[..., Any]], Callable[..., Any]]
Graph = Callable[[Call, int], Any]

DRIVER = """
import sys
from pathlib import Path
from dask_flow import Flow, task
from dask_flow.executors import DaskExecutor

def increment(number):
    return number + 1

address, tasks, options = sys.argv[1], int(sys.argv[2]), {"batch": 1} if sys.argv[3:] else {}
with Flow("memory") as flow:
    mapped = task(**options)(increment).map(range(tasks))
state = flow.run(executor=DaskExecutor(address=address))
if state.result[mapped].result != list(range(1, tasks + 1)):
    sys.exit(f"the flow gave other results than it should: {state}")
# This peak, unlike getrusage's, does not begin with that of the process that started this one.
line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
print(int(line.split()[1]) / 1024)
"""
MAKING = """
import sys, time
from dask_flow import Flow, task

tasks = int(sys.argv[1])
step = task(lambda number: number + 1)
started = time.perf_counter()
last = 0
with Flow("making") as flow:
    for _ in range(tasks):
        last = step(last)
taken = time.perf_counter() - started
if len(flow.tasks) != tasks or len(flow.edges) != tasks - 1:
    sys.exit(f"the flow has {len(flow.tasks)} tasks and {len(flow.edges)} edges, not {tasks} in a row")
print(taken)
"""
IMPORT_ONLY = """
import sys, dask_flow
heavy = [name for name in ("dask", "distributed", "kubernetes") if name in sys.modules]
if heavy:
    sys.exit(f"import dask_flow imports {', '.join(heavy)} too")
"""


LIMITS = [
    Limit((ONE, MAP), (RAW, MAP), 1.10),
    Limit((ONE, CHAIN), (RAW, CHAIN), 1.10),
    Limit((ONE, DIAMONDS), (RAW, DIAMONDS), 1.15),
    Limit((ONE, LONG_DIAMONDS), (RAW, LONG_DIAMONDS), 1.15),
    Limit((ONE, LONG_DIAMONDS), (ONE, DIAMONDS), 1.2),
    Limit((ONE, NAMES), (ONE, NAME), 1.15),
    Limit((OURS, LONG_MAP), (RAW, MAP), 0.05),
    Limit((OURS, PAUSES), (RAW, PAUSES), 1.05),
    Limit((PREFECT1, MAP1), (ONE, MAP), 8, least=True),
    Limit((PREFECT3, MAP3), (ONE, MAP), 50, least=True),
    Limit((PREFECT1, MAP1), (OURS, LONG_MAP), 200, least=True),
    Limit((PREFECT3, MAP3), (OURS, LONG_MAP), 1000, least=True),
    Limit((OURS, FLOW), 1),
    Limit((OURS, LONG_FLOW), (OURS, FLOW), 12),
    Limit((OURS, MEMORY), 400),
    Limit((ONE, MEMORY), 400),
    Limit((OURS, IMPORT), 60),
]


class Contestant(NamedTuple):
    """One that has a turn in each round: `run` does so many tasks, and returns what `expected` does."""

    key: Key
    tasks: int
    run: Callable[[int], Any]
    expected: Callable[[int], Any]


class Peer(NamedTuple):
    """One that has its turns in an environment of its own, by a script of `peers/` with these options."""

    key: Key
    tasks: int
    python: Path
    script: str
    options: tuple[str, ...] = ()


def main() -> None:
    options = parsed()
    peers = peers_of(options) if "map" in options.only else []
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        with Client(cluster.scheduler_address) as client:
            samples, versions = take_turns(contestants(client, options.only), peers, cluster, options.rounds)
        if "driver" in options.only:
            samples |= driver(cluster, options.rounds)
    print(f"\n{'; '.join(versions)}\n")
    judge(samples, LIMITS, options.json)


def parsed() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5, help="how many turns each has")
    arguments.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="what is measured")
    arguments.add_argument("--prefect1-python", type=Path, metavar="FILE", help="default: .venv-oracle/bin/python")
    arguments.add_argument("--prefect3-python", type=Path, metavar="FILE", help="default: .venv-prefect3/bin/python")
    arguments.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = arguments.parse_args()
    for python in (options.prefect1_python, options.prefect3_python):
        if python and not python.exists():
            arguments.error(f"there is no {python}; make the environment, or leave the option away")
    return options


def peers_of(options: argparse.Namespace) -> list[Peer]:
    """Return the peers whose environments are there."""
    python1 = options.prefect1_python or ROOT / ".venv-oracle/bin/python"
    python3 = options.prefect3_python or ROOT / ".venv-prefect3/bin/python"
    known = [
        Peer((PREFECT1, MAP1), 300, python1, "prefect1.py"),
        Peer((f"{PREFECT1}, {QUIET}", MAP1), 300, python1, "prefect1.py", (QUIET,)),
        Peer((PREFECT3, MAP3), 100, python3, "prefect3.py"),
        Peer((f"{PREFECT3}, {QUIET}", MAP3), 100, python3, "prefect3.py", (QUIET,)),
    ]
    return [peer for peer in known if peer.python.exists()]


def increment(number: int) -> int:
    return number + 1


def pause(number: int) -> int:
    time.sleep(PAUSE_SECONDS)
    return number + 1


def largest(numbers: list[int]) -> int:
    return max(numbers)


def incremented(tasks: int) -> list[int]:
    return list(range(1, tasks + 1))


def layers(tasks: int) -> int:
    return tasks // LAYER_TASKS


def chain(call: Call, tasks: int) -> Any:
    """Return the end of as many calls in a row."""
    step = call(increment)
    last: Any = 0
    for _ in range(tasks):
        last = step(last)
    return last


def diamonds(call: Call, tasks: int) -> Any:
    """Return the end of layers that each fan out, and in again."""
    step, join = call(increment), call(largest)
    last: Any = 0
    for _ in range(layers(tasks)):
        last = join([step(last) for _ in range(LAYER_TASKS - 1)])
    return last


def one_name(call: Call, tasks: int) -> Any:
    """Return the end of one layer."""
    step = call(increment)
    return call(largest)([step(number) for number in range(tasks)])


def names(call: Call, tasks: int) -> Any:
    """Return the end of the same layer, of tasks of a Flow that each have a name of their own."""
    step = call(increment)
    return call(largest)([step(number, task_args={"name": f"step{number}"}) for number in range(tasks)])


class Raw:
    """Runs on distributed alone."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def map(self, function: Callable[[int], int], tasks: int) -> Any:
        return self.client.gather(self.client.map(function, range(tasks), pure=False))

    def graph(self, graph: Graph, tasks: int) -> Any:
        return graph(lambda function: partial(self.client.submit, function, pure=False), tasks).result()


class Ours:
    """Runs flows, of tasks with these options.

    A map as `flow.run()` does, which connects, and fetches all results; a graph as `dask-flow run` does, on the client
    that raw distributed has too, and fetches the last one.
    """

    def __init__(self, client: Client, **options: Any) -> None:
        self.client = client
        self.task = task(**options)

    def map(self, function: Callable[[int], int], tasks: int) -> Any:
        with Flow("throughput") as flow:
            last = self.task(function).map(range(tasks))
        state = flow.run(executor=DaskExecutor(address=self.client.scheduler.address))
        return self._result(state, last)

    def graph(self, graph: Graph, tasks: int) -> Any:
        with Flow("throughput") as flow:
            last = graph(self.task, tasks)
        with on_client(self.client) as backend:
            run, state = run_on(backend, flow, {}, keep={last})
            result = self._result(state, last)
            run.release()
            return result

    def _result(self, state: Any, last: Any) -> Any:
        if not state.is_successful():
            raise SystemExit(f"the flow failed: {state.message}")
        return state.result[last].result


def contestants(client: Client, parts: Sequence[str]) -> list[Contestant]:
    """Return who takes turns on the client's cluster, with the same work."""
    raw, ours, one = Raw(client), Ours(client), Ours(client, batch=1)
    turns = {
        "map": [
            Contestant((RAW, MAP), 10_000, partial(raw.map, increment), incremented),
            Contestant((ONE, MAP), 10_000, partial(one.map, increment), incremented),
            Contestant((OURS, LONG_MAP), 100_000, partial(ours.map, increment), incremented),
        ],
        "graphs": [
            Contestant((RAW, CHAIN), 500, partial(raw.graph, chain), int),
            Contestant((ONE, CHAIN), 500, partial(one.graph, chain), int),
            Contestant((RAW, DIAMONDS), 2000, partial(raw.graph, diamonds), layers),
            Contestant((ONE, DIAMONDS), 2000, partial(one.graph, diamonds), layers),
            Contestant((RAW, LONG_DIAMONDS), 20_000, partial(raw.graph, diamonds), layers),
            Contestant((ONE, LONG_DIAMONDS), 20_000, partial(one.graph, diamonds), layers),
        ],
        "names": [
            Contestant((ONE, NAME), 20_000, partial(one.graph, one_name), int),
            Contestant((ONE, NAMES), 20_000, partial(one.graph, names), int),
        ],
        "pauses": [
            Contestant((RAW, PAUSES), 1000, partial(raw.map, pause), incremented),
            Contestant((OURS, PAUSES), 1000, partial(ours.map, pause), incremented),
        ],
    }
    return [turn for part in parts for turn in turns.get(part, ())]


def take_turns(
    turns: list[Contestant], peers: list[Peer], cluster: LocalCluster, rounds: int
) -> tuple[Samples, list[str]]:
    """Return the figures, and the versions that they are of; the first turn, a small one, does not count."""
    samples: Samples = {}
    versions = {f"Python {platform.python_version()}, distributed {version('distributed')}": None}
    for each in turns:
        seconds(each, WARM_UP_TASKS, cluster)
    for number in range(rounds):
        # Who comes after whom changes, so that nobody always finds what another left.
        for each in turns[:: -1 if number % 2 else 1]:
            samples.setdefault(each.key, []).append(seconds(each, each.tasks, cluster) / each.tasks * 1e6)
            print(f"# round {number + 1}: {', '.join(each.key)}: {samples[each.key][-1]:.2f}", flush=True)
        for peer in peers:
            script = str(Path(__file__).parent / "peers" / peer.script)
            figures = json.loads(output(str(peer.python), "-W", "ignore", script, str(peer.tasks), *peer.options))
            samples.setdefault(peer.key, []).append(figures["peer"] * 1e6)
            samples.setdefault((f"{RAW}, as {peer.key[0]} has it", peer.key[1]), []).append(figures["raw"] * 1e6)
            versions[figures["versions"]] = None
            print(f"# round {number + 1}: {', '.join(peer.key)}: {samples[peer.key][-1]:.2f}", flush=True)
    return samples, list(versions)


def seconds(contestant: Contestant, tasks: int, cluster: LocalCluster) -> float:
    """Time a turn, check its results, and wait until the scheduler has forgotten it."""
    gc.collect()
    started = time.perf_counter()
    results = contestant.run(tasks)
    taken = time.perf_counter() - started
    if results != contestant.expected(tasks):
        raise SystemExit(f"{contestant.key}: {tasks} tasks gave other results than they should: {str(results)[:200]}")
    forgotten(cluster)
    return taken


def forgotten(cluster: LocalCluster) -> None:
    deadline = time.monotonic() + FORGET_TIMEOUT_SECONDS
    while cluster.scheduler.tasks:
        if time.monotonic() > deadline:
            raise SystemExit(f"the scheduler still has {len(cluster.scheduler.tasks)} tasks of a turn that is over")
        time.sleep(0.01)


def driver(cluster: LocalCluster, rounds: int) -> Samples:
    """Return the figures of what needs no cluster to speak of: time to import and to make a flow, and memory."""
    samples: Samples = {}
    for _ in range(rounds * FLOWS_PER_ROUND):
        for key, tasks in (((OURS, FLOW), 10_000), ((OURS, LONG_FLOW), 100_000)):
            samples.setdefault(key, []).append(float(output(sys.executable, "-c", MAKING, str(tasks))))
    output(sys.executable, "-m", "compileall", "-q", str(ROOT / "runner/src"))  # as pip does when it installs
    samples[OURS, IMPORT] = [starting(IMPORT_ONLY) - starting("pass") for _ in range(IMPORTS)]
    for key, arguments in (((OURS, MEMORY), []), ((ONE, MEMORY), ["batch=1"])):
        samples[key] = [float(output(sys.executable, "-c", DRIVER, cluster.scheduler_address, "100000", *arguments))]
        forgotten(cluster)
    return samples


def starting(code: str) -> float:
    """Return the milliseconds of a Python that runs the code."""
    started = time.perf_counter()
    output(sys.executable, "-c", code)
    return (time.perf_counter() - started) * 1000


def output(*command: str) -> str:
    """Return the last line that a command prints; one that fails ends the program."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:2])} … failed:\n{done.stdout}{done.stderr}")
    return done.stdout.splitlines()[-1] if done.stdout else ""


if __name__ == "__main__":
    main()
