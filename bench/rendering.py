"""How much processor time `helm template` takes for each file in values/, beside what it takes for a chart of nothing.

Needs helm.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import tempfile
from pathlib import Path

from table import show

ROOT = Path(__file__).parents[1]
EMPTY = "apiVersion: v2\nname: empty\nversion: 0.0.0\n"


def seconds(chart: Path, *values: str) -> float:
    """Return the processor time, in all of its threads, that helm takes to render a chart."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(["helm", "template", "r", chart, *values], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    """Measure them in turns, so that what else the machine does is the same for all."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=20)
    arguments.add_argument("--json", type=Path)
    given = arguments.parse_args()
    files = sorted((ROOT / "values").glob("*.yaml"))
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder)
        (empty / "Chart.yaml").write_text(EMPTY)
        samples: dict[tuple[str, str], list[float]] = {}
        for _ in range(given.rounds):
            samples.setdefault(("an empty chart", "s"), []).append(seconds(empty))
            for path in files:
                values = ("--values", str(path), "--set", "operator.enabled=false")
                samples.setdefault((path.name, "s"), []).append(seconds(ROOT / "charts/dask-flow", *values))
    medians = {what: statistics.median(each) for (what, _), each in samples.items()}
    least = medians.pop("an empty chart")
    show(samples, {f"{what} / an empty chart": median / least for what, median in medians.items()}, given.json)


if __name__ == "__main__":
    main()
