"""What every benchmark here prints: rows of minimum, median and maximum, and ratios of medians."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["show"]

Samples = Mapping[tuple[str, str], Sequence[float]]


def show(samples: Samples, ratios: Mapping[str, float], json_file: Path | None) -> None:
    """Print a Markdown table of the samples by (what, metric), then the ratios; write both to the file as JSON."""
    rows = [
        {"what": what, "metric": metric, "min": min(values), "median": statistics.median(values), "max": max(values)}
        for (what, metric), values in samples.items()
    ]
    print("| what | metric | min | median | max |\n|---|---|---|---|---|")
    for row in rows:
        print("| {what} | {metric} | {min:.2f} | {median:.2f} | {max:.2f} |".format(**row))
    if ratios:
        print("\n| ratio of medians | |\n|---|---|")
    for name, ratio in ratios.items():
        print(f"| {name} | {ratio:.2f} |")
    if json_file:
        json_file.write_text(json.dumps({"rows": rows, "ratios": dict(ratios)}, indent=2) + "\n")
