"""Write what CHANGELOG.md says of the newest version into Chart.yaml, as Artifact Hub shows it.

Usage: chart_changes.py. Each change has a kind, its text without Markdown's links, and the links:
https://artifacthub.io/docs/topics/annotations/helm/
"""

import json
import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/dask-flow/Chart.yaml"
KEY = "  artifacthub.io/changes: |\n"
LINK = re.compile(r"\[([^]]+)\]\(([^)]+)\)")
SECTION = re.compile(r"^## .*\n((?:(?!## ).*\n)*)", re.MULTILINE)
PAGES = "https://github.com/dask-flow/dask-flow/blob/main/"


def changes(changelog):
    """Return the newest section's entries as (kind, text)."""
    kinds = re.split(r"^### (\w+)\n", SECTION.search(changelog)[1], flags=re.MULTILINE)
    for kind, entries in zip(kinds[1::2], kinds[2::2], strict=True):
        for entry in re.split(r"^- ", entries, flags=re.MULTILINE)[1:]:
            yield kind.lower(), " ".join(entry.split())


def annotation(changelog):
    """Return the annotation's lines, a list as YAML."""
    for kind, text in changes(changelog):
        yield f"- kind: {kind}"
        yield "  description: >-"
        yield from textwrap.wrap(
            LINK.sub(r"\1", text),
            width=120,
            initial_indent="    ",
            subsequent_indent="    ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        links = LINK.findall(text)
        if links:
            yield "  links:"
        for name, target in links:
            yield f"    - name: {json.dumps(name, ensure_ascii=False)}"
            yield f"      url: {target if target.startswith('http') else PAGES + target}"


def renewed(chart, changelog):
    """Return Chart.yaml's text with the annotation, which is its last key."""
    return chart.partition(KEY)[0] + KEY + "".join(f"    {line}\n" for line in annotation(changelog))


if __name__ == "__main__":
    CHART.write_text(renewed(CHART.read_text(), (ROOT / "CHANGELOG.md").read_text()))
