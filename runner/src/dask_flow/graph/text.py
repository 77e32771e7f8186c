"""A flow's graph as text for other programs: Mermaid, and Graphviz's DOT."""

from __future__ import annotations

import json
import re

from dask_flow.graph.model import COLOURS, Graph, shorten

__all__ = ["LONGEST_KEY", "dot", "mermaid"]

LONGEST_KEY = 24


def mermaid(graph: Graph) -> str:
    """Return a flowchart. Nodes have numbers, since names need not be unique."""
    shapes = {"task": '["{}"]', "mapped": '[["{}"]]', "parameter": '(["{}"])'}
    lines = ["---", f"title: {json.dumps(graph.title, ensure_ascii=False)}", "---", "flowchart LR"]
    for number, node in enumerate(graph.nodes):
        label = _escape(node.label) + (f"<br>{_escape(node.state)}" if node.state else "")
        lines.append(f"    t{number}{shapes[node.shape].format(label)}{f':::{node.kind}' if node.kind else ''}")
    for link in graph.links:
        label = f'|"{_escape(shorten(link.label, LONGEST_KEY))}"|' if link.label else ""
        lines.append(f"    t{link.upstream} {'-.->' if link.mapped else '-->'}{label} t{link.downstream}")
    for kind in sorted({node.kind for node in graph.nodes} - {""}):
        fill, border = COLOURS[kind]
        lines.append(f"    classDef {kind} fill:{fill},stroke:{border},color:#000")
    return "\n".join([*lines, ""])


def _escape(text: str) -> str:
    """Write what Mermaid, or the Markdown in its labels, could take for markup as numbers of characters."""
    return re.sub(
        r"^[0-9]+(?=[.)])|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|[^\w (),-]|^-",
        lambda found: "".join(f"#{ord(each)};" for each in found[0]),
        text,
    )


def dot(graph: Graph) -> str:
    """Return a graph for Graphviz."""
    shapes = {"task": "box", "mapped": "box3d", "parameter": "ellipse"}
    lines = [
        f"digraph {_quote(graph.title)} {{",
        '    rankdir=LR; node [fontname="Helvetica"]; edge [fontname="Helvetica", fontsize=10];',
    ]
    for number, node in enumerate(graph.nodes):
        label = _quote(f"{node.label}\n{node.state}".strip())
        fill = f', style=filled, fillcolor="{COLOURS[node.kind][0]}"' if node.kind else ""
        lines.append(
            f"    t{number} [label={label}, shape={shapes[node.shape]}, tooltip={_quote(node.summary)}{fill}];"
        )
    for link in graph.links:
        style = ", style=dashed" if link.mapped else ""
        lines.append(
            f"    t{link.upstream} -> t{link.downstream} [label={_quote(shorten(link.label, LONGEST_KEY))}{style}];"
        )
    return "\n".join([*lines, "}", ""])


def _quote(text: str) -> str:
    """Write a text as DOT does; `&` begins an entity there too."""
    escaped = text.replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
