"""What every benchmark here prints: rows of minimum, median and maximum, and ratios of medians with their limits."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["Key", "Limit", "judge", "show"]

Key = tuple[str, str]
"""What, and the metric."""
Samples = Mapping[Key, Sequence[float]]


class Limit(NamedTuple):
    """What a median, divided by another or by `to` itself, is held to: at most `bound`, or at least."""

    of: Key
    to: Key | float
    bound: float = 1
    least: bool = False

    @property
    def name(self) -> str:
        (who, what), sign = self.of, "≥" if self.least else "≤"
        if isinstance(self.to, tuple):
            ratio = f"{what}: {who} / {self.to[0]}" if self.to[1] == what else f"{who}, {what} / {', '.join(self.to)}"
        else:
            ratio = f"{who}, {what} / {self.to:g}"
        return f"{ratio} ({sign} {self.bound:g})"

    def known(self, medians: Mapping[Key, float]) -> bool:
        return self.of in medians and (not isinstance(self.to, tuple) or self.to in medians)

    def ratio(self, medians: Mapping[Key, float]) -> float:
        return medians[self.of] / (medians[self.to] if isinstance(self.to, tuple) else self.to)

    def missed(self, ratio: float) -> bool:
        return ratio < self.bound if self.least else ratio > self.bound


def judge(samples: Samples, limits: Sequence[Limit], json_file: Path | None) -> None:
    """Show the samples with their limits, and exit with 1 if one is missed."""
    medians = {key: statistics.median(values) for key, values in samples.items()}
    ratios = {limit: limit.ratio(medians) for limit in limits if limit.known(medians)}
    show(samples, {limit.name: ratio for limit, ratio in ratios.items()}, json_file)
    for limit in limits:
        if limit not in ratios:
            print(f"left out: {limit.name}")
    missed = [limit.name for limit, ratio in ratios.items() if limit.missed(ratio)]
    if missed:
        sys.exit("\n".join(["these limits are missed:", *missed]))


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
