"""What the site has besides the pages of docs/: the README as its first page, and what else is in the project."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
SOURCE = "https://github.com/dask-flow/dask-flow"
# Pages of the site by their file in the project, other than those of docs/.
FROM_ELSEWHERE = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
# What links on a page of the site lead to instead.
INSTEAD = {"charts/dask-flow/README.md": "values.md", **FROM_ELSEWHERE}
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from elsewhere."""
    for path, page in FROM_ELSEWHERE.items():
        file = File.generated(config, page, content=(ROOT / path).read_text(encoding="utf-8"))
        file.edit_uri = f"../{path}"
        files.append(file)
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Have links lead to pages of the site, or else to the source."""
    uri = page.file.src_uri
    folder = "" if uri in FROM_ELSEWHERE.values() else "docs"
    return LINK.sub(lambda link: target(posixpath.normpath(posixpath.join(folder, link[0]))), markdown)


def on_page_content(html: str, **_: object) -> str:
    """Take away the backslash before a bar in a table's code: GitHub needs it, Python-Markdown shows it."""
    return re.sub(r"<td>.*?</td>", lambda cell: cell[0].replace(r"\|", "|"), html, flags=re.DOTALL)


def target(path: str) -> str:
    """Return what a link to this file of the project is on the site."""
    if path in INSTEAD:
        return INSTEAD[path]
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"{SOURCE}/{'tree' if (ROOT / path).is_dir() else 'blob'}/main/{path}"
