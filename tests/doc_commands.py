"""The commands that the README and the docs show, and how some of them are run one after the other."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md"), *ROOT.glob("charts/*/README.md")]
)
PROGRAM = r"(?:\.venv/bin/)?(?:dask-flow|helm|kubectl|make|python3?|pip|openssl|docker|argo)"
ASSIGNMENTS = r"(?:\w+=(?:\$\([^)]*\)|'[^']*'|\S*)\s+)*"
COMMAND = re.compile(rf"(?:\$ )?(?:(?:export |until )?{ASSIGNMENTS}{PROGRAM}(?: |$)|\w+=\$\({PROGRAM} )")
INLINE = re.compile(rf"(?!make )(?:\w+=\S+ )?{PROGRAM} \S+ \S+")
# A command's name rather than a command: `helm dependency build`, `kubectl create secret docker-registry …`.
NAME = re.compile(r"\S+ [a-z0-9-]+ [a-z]+|.*…")
PLACEHOLDER = re.compile(r"\b(TARGET|OPTIONS|FILE|RUN)\b")


@dataclasses.dataclass(frozen=True)
class Command:
    """A paragraph of commands in a page, or a command in a sentence."""

    page: str
    text: str

    @property
    def is_synopsis(self) -> bool:
        """Whether it says how a command is called, not what to type."""
        return self.text.startswith("dask-flow ") and bool(PLACEHOLDER.search(self.text))


def commands(path: Path) -> list[Command]:
    """Return the commands of a page in their order, each once."""
    page = path.relative_to(ROOT).as_posix()
    code, prose = _split(path.read_text(encoding="utf-8"))
    shown = [_typed(paragraph) for paragraph in code if COMMAND.match(paragraph)]
    said = [" ".join(each.split()) for each in re.findall(r"`([^`]+)`", prose)]
    found = [*shown, *(each.replace("\\|", "|") for each in said if INLINE.match(each) and not NAME.fullmatch(each))]
    return [Command(page, text) for text in dict.fromkeys(found)]


def _split(text: str) -> tuple[list[str], str]:
    """Return the paragraphs of code, and the rest of the page without any code block."""
    code: list[str] = []
    prose: list[str] = []
    fence: str | None = None
    open_paragraph = may_indent = False  # a paragraph of code goes on; indented lines here are code
    for line in text.splitlines():
        mark = re.match(r" *```(\w*)", line)
        shows = fence in {"", "sh", "console"} or (fence is None and may_indent and line.startswith("    "))
        if mark:
            fence = mark[1] if fence is None else None
        elif shows and line.strip():
            words = line if fence is not None else line[4:]
            code = [*code[:-1], f"{code[-1]}\n{words}"] if open_paragraph else [*code, words]
        elif fence is None:
            prose.append(line)
        open_paragraph = bool(shows and line.strip() and not mark)
        may_indent = open_paragraph or not line.strip()
    return code, "\n".join(prose)


def _typed(paragraph: str) -> str:
    """Return what is typed: in a paragraph with prompts only the lines that have one."""
    lines = paragraph.splitlines()
    return "\n".join(line[2:] for line in lines if line.startswith("$ ")) or paragraph


def shown(page: str, start: str) -> str:
    """Return the code of a page, whole, that begins so, such as a flow's file."""
    text = (ROOT / page).read_text(encoding="utf-8")
    fenced = re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    indented = [each.replace("\n    ", "\n") for each in re.findall(r"^    (\S.*(?:\n+    .*)*)", text, re.MULTILINE)]
    return next(f"{each.rstrip()}\n" for each in [*fenced, *indented] if each.startswith(start))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scenario:
    """Commands of pages that are run in their order, by one shell, in a folder with the project's and these `files`.

    A step is what a command begins with. `says` are patterns that the output of a step must have, `codes` are exit
    codes other than 0. `before` and `after` (a step) are a shell's text that the test adds. `instead` replaces words:
    what is elsewhere, and what the one who reads is to fill in. The `namespaces` of the commands get other names.
    `ends` are the runs, by their Jobs' names, with their exit codes. `fresh`: dask-flow is not installed before.
    """

    pages: tuple[str, ...]
    steps: tuple[str, ...]
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    says: Mapping[str, str] = dataclasses.field(default_factory=dict)
    codes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    before: str = ""
    after: Mapping[str, str] = dataclasses.field(default_factory=dict)
    instead: Mapping[str, str] = dataclasses.field(default_factory=dict)
    namespaces: tuple[str, ...] = ()
    ends: Mapping[str, int] = dataclasses.field(default_factory=dict)
    fresh: bool = False

    def __str__(self) -> str:
        return f"{self.pages[0].removeprefix('docs/')}: {self.steps[0].splitlines()[0]}"

    def commands(self) -> list[Command]:
        """Return what the steps are on the pages; several pages may have the same."""
        return [command for step in self.steps for command in beginning(self.pages, step)]

    def script(self) -> str:
        """Return all steps as a shell's script, which writes a line of MARK behind the output of each."""
        lines = ["set -euo pipefail", self.before, f"echo {MARK}"]
        for step in self.steps:
            text = _ending(beginning(self.pages, step)[0].text)
            for word, other in self.instead.items():
                text = text.replace(word, other)
            code = _for(step, self.codes)
            lines += [
                text if code is None else f"({text}) || [ $? = {code} ]",
                _for(step, self.after) or "",
                f"echo {MARK}",
            ]
        return "\n".join(lines)

    def check(self, output: str) -> None:
        """Check that each step was done, and said what it is to say."""
        _, *parts = output.split(f"{MARK}\n")
        assert len(parts) == len(self.steps) + 1, output
        for step, said in zip(self.steps, parts, strict=False):
            assert re.search(_for(step, self.says) or "", said, re.MULTILINE), f"{step}:\n{said}"


MARK = "-- done --"


def link_project(folder: Path, files: Mapping[str, str]) -> None:
    """Make a folder that has the project's own files, and these."""
    for path in ROOT.iterdir():
        if not path.name.startswith(".") and path.name not in {"build", "dist"}:
            (folder / path.name).symlink_to(path)
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def _for(step: str, table: Mapping[str, Any]) -> Any:
    """Return what the table has for a step, by what this begins with."""
    return next((value for start, value in table.items() if step.startswith(start)), None)


def beginning(pages: Iterable[str], start: str) -> list[Command]:
    """Return the commands of these pages that are this, or else begin so, which must be one and the same."""
    there = [each for page in pages for each in commands(ROOT / page)]
    found = [each for each in there if each.text == start] or [each for each in there if each.text.startswith(start)]
    assert len({each.text for each in found}) == 1, f"{len(found)} commands of {pages} begin with {start!r}"
    return found


def _ending(text: str) -> str:
    """Have a port-forward, which goes on for ever, end as soon as it is there, on any free port of this machine."""
    if not text.startswith("kubectl port-forward"):
        return text
    line = re.sub(r" (\d+)$", r" :\1", text)
    return (
        f"{line} >forwarded & forward=$!\n"
        "until grep -q 'Forwarding from' forwarded; do kill -0 $forward; sleep 0.1; done\n"
        "cat forwarded; kill $forward; wait $forward || true"
    )
