"""Print runs as kubectl prints objects."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import textwrap
from collections.abc import Iterable, Sequence

from dask_flow.remote.runs import Run, times
from dask_flow.text import one_line, printable

__all__ = ["FORMATS", "duration", "rendered"]

FORMATS = ("table", "wide", "json", "yaml", "name")
GAP = "   "
INDENT = "    "
MOST_LINES = 3
"""Of a reason; -o wide has all of it."""


def rendered(runs: Sequence[Run], form: str, *, now: dt.datetime, namespaces: bool, width: int | None) -> str:
    """Return the runs in one of FORMATS; a table's lines have at most `width` characters, if that is given."""
    if form == "name":
        return "\n".join(f"job.batch/{run.name}" for run in runs)
    if form in {"json", "yaml"}:
        records = [_record(run, now) for run in runs]
        if form == "json":
            return json.dumps(records, indent=4)
        import yaml

        return str(yaml.safe_dump(records, sort_keys=False)).rstrip()
    rows = [_row(run, now, wide=form == "wide") for run in runs]
    if namespaces:
        rows = [{"NAMESPACE": run.namespace, **row} for run, row in zip(runs, rows, strict=True)]
    return _table(rows, width if form == "table" else None)


def duration(seconds: float | None) -> str:
    """Return a time span in its two biggest units, as kubectl does: 42s, 3m10s, 5h2m, 3d4h."""
    if seconds is None:
        return "<none>"
    whole = max(int(seconds), 0)
    units = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
    parts = []
    for name, size in units:
        count, whole = divmod(whole, size)
        parts.append((count, name))
    while len(parts) > 1 and not parts[0][0]:
        parts.pop(0)
    return "".join(f"{count}{name}" for count, name in parts[:2] if count or len(parts) == 1)


def _record(run: Run, now: dt.datetime) -> dict[str, object]:
    """Return a run with keys as Kubernetes writes them."""
    words = {field: field.split("_") for field in (each.name for each in dataclasses.fields(run))}
    names = {field: first + "".join(map(str.title, rest)) for field, (first, *rest) in words.items()}
    record = {names[field]: value for field, value in dataclasses.asdict(run).items()}
    age, lasted = times(run, now)
    return {**record, "ageSeconds": int(age), "durationSeconds": None if lasted is None else int(lasted)}


def _row(run: Run, now: dt.datetime, *, wide: bool) -> dict[str, str]:
    age, lasted = times(run, now)
    row = {
        "NAME": run.name,
        "STATE": run.state,
        "WORKERS": "-" if run.workers is None else str(run.workers),
        "DURATION": duration(lasted),
        "AGE": duration(age),
    }
    if wide:
        row |= {
            "RELEASE": run.release or "<none>",
            "ATTEMPTS": str(run.attempts),
            "EXIT": "<none>" if run.exit_code is None else str(run.exit_code),
            "RUNNER": run.runner or "<none>",
            "TARGET": run.target or "<none>",
        }
    return {name: one_line(cell) for name, cell in row.items()} | {"REASON": " ".join(printable(run.reason).split())}


def _table(rows: Sequence[dict[str, str]], width: int | None) -> str:
    if not rows:
        return ""
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(_fitted(GAP.join(_padded(line, widths)).rstrip(), line[-1], width) for line in lines)


def _fitted(line: str, reason: str, width: int | None) -> str:
    """Return a line of the table; a reason for which it has no room is below it."""
    if width is None or len(line) <= width:
        return line
    head = _cut(line.removesuffix(reason).rstrip(), width)
    below = textwrap.wrap(reason, width - len(INDENT), max_lines=MOST_LINES, placeholder=" …", break_on_hyphens=False)
    return "\n".join([head, *(INDENT + each for each in below)])


def _padded(line: Iterable[str], widths: Iterable[int]) -> list[str]:
    return [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else f"{line[: width - 1]}…"
