"""Draw a flow before it runs, or with the states of a run: as Mermaid, SVG, an HTML page, or Graphviz's DOT."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from dask_flow.errors import InputError
from dask_flow.graph.model import Graph, read

__all__ = ["FORMATS", "Drawing", "draw", "format_of", "visualize"]

FORMATS = ("mermaid", "svg", "html", "dot")
SUFFIXES = {
    ".mmd": "mermaid",
    ".mermaid": "mermaid",
    ".md": "mermaid",
    ".svg": "svg",
    ".html": "html",
    ".htm": "html",
    ".dot": "dot",
    ".gv": "dot",
}


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A flow's graph, ready to be drawn. Notebooks show it; as text it is Mermaid."""

    graph: Graph

    def __str__(self) -> str:
        return self.render("mermaid").decode()

    def _repr_html_(self) -> str:
        from dask_flow.graph.picture import svg

        return svg(self.graph)

    def render(self, format: str) -> bytes:  # noqa: A002 - the name in Prefect
        """Return the drawing in one of FORMATS, or another of Graphviz's, such as pdf.

        The same flow gives the same bytes. Raises InputError: there is no such format, or Graphviz, which it needs.
        """
        from dask_flow.graph import picture, text

        if format == "mermaid":
            return text.mermaid(self.graph).encode()
        if format == "dot":
            return text.dot(self.graph).encode()
        if format == "html":
            return picture.html(self.graph).encode()
        if format == "svg":
            return picture.best_svg(self.graph)
        return picture.graphviz(text.dot(self.graph), format)

    def save(self, path: Path, format: str) -> None:  # noqa: A002 - the name in Prefect
        """Write the drawing to a file; Mermaid in Markdown is fenced. Raises InputError if that is not possible."""
        content = self.render(format)
        if path.suffix == ".md" and format == "mermaid":
            content = b"```mermaid\n" + content + b"```\n"
        try:
            path.write_bytes(content)
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror}") from error


def draw(flow: Any, flow_state: Any = None) -> Drawing:
    """Return the drawing of a `dask_flow.Flow` or a flow of Prefect 1; a run's state colours its tasks.

    Raises InputError: the flow has no graph before it runs, no tasks, or a cycle.
    """
    return Drawing(read(flow, flow_state))


def visualize(
    flow: Any,
    flow_state: Any = None,
    filename: str | None = None,
    format: str | None = None,  # noqa: A002 - the name in Prefect
) -> Drawing:
    """Return a flow's drawing, which a notebook shows, and write it to a file if there is a `filename`.

    As in Prefect, `format` is added to a name that does not end in it. Without `format` the name's suffix says what it
    is; a name without a suffix is made HTML.
    """
    drawing = draw(flow, flow_state)
    if filename is not None:
        path = Path(filename)
        wanted = format or SUFFIXES.get(path.suffix, path.suffix.removeprefix(".") or "html")
        complete = path.suffix == f".{wanted}" or SUFFIXES.get(path.suffix) == wanted
        drawing.save(path if complete else path.with_name(f"{path.name}.{wanted}"), wanted)
    return drawing


def format_of(path: Path) -> str:
    """Return the format that a file's suffix stands for. Raises InputError if it stands for none."""
    if path.suffix not in SUFFIXES:
        raise InputError(
            f"{path}: the name does not say what to draw; let it end in {', '.join(SUFFIXES)}, or give --format"
        )
    return SUFFIXES[path.suffix]
