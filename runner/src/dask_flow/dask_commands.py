"""Dask's command line in a pod: which container's it is, where in it, what it says, and how a run changes it.

Also `dask-worker` and `dask-scheduler` themselves, which distributed dropped in 2026.6.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from dask_flow import shell_text
from dask_flow.settings import MAX_WORKERS

__all__ = ["DaskCommand", "choose", "dask_command", "dask_container", "modern", "scheduler", "worker"]

OLD = {"dask-worker": "worker", "dask-scheduler": "scheduler"}
COMMANDS = {
    ("dask", "worker"): "worker",
    ("dask", "cuda", "worker"): "worker",
    ("dask-worker",): "worker",
    ("dask-cuda-worker",): "worker",
    ("distributed.cli.dask_worker",): "worker",
    ("dask", "scheduler"): "scheduler",
    ("dask-scheduler",): "scheduler",
    ("distributed.cli.dask_scheduler",): "scheduler",
}
DROPPED = {"--reconnect", "--no-reconnect"}
RENAMED = {
    "--bokeh": "--dashboard",
    "--no-bokeh": "--no-dashboard",
    "--bokeh-port": "--dashboard-address",
    "--bokeh-prefix": "--dashboard-prefix",
    "--nprocs": "--nworkers",
}
# A test compares these with Dask's own commands, whose import would take too long here. What the run decides:
TLS = {"--tls-ca-file", "--tls-cert", "--tls-key"}
DECIDED = {
    "worker": TLS
    | {"--name", "--scheduler-file", "--scheduler-sni", "--protocol", "--host", "--listen-address", "--contact-address"}
    | {"--worker-port", "--nanny-port"},
    "scheduler": TLS | {"--scheduler-file", "--protocol", "--host", "--port", "--dashboard-address"},
}
# What a run adds, so that it is left out of another program's options too:
ADDED = {"worker": {"--name"}, "scheduler": {"--port", "--protocol", "--dashboard-address"}}
# What else has a value, and what has none:
VALUED = {
    *("--interface", "--dashboard-address", "--dashboard-prefix", "--pid-file", "--preload", "--preload-nanny"),
    *("--nthreads", "--nworkers", "--memory-limit", "--local-directory", "--resources", "--worker-class"),
    *("--death-timeout", "--lifetime", "--lifetime-stagger", "--idle-timeout", "--use-xheaders"),
    *(DECIDED["worker"] | DECIDED["scheduler"]),
}
FLAGS = {"--dashboard", "--no-dashboard", "--nanny", "--no-nanny", "--lifetime-restart", "--no-lifetime-restart"}
FLAGS |= {"--jupyter", "--no-jupyter", "--show", "--no-show", "--version", "--help"}

OF_ANOTHER_PROGRAM = {"-n", "--name", "-p", "--prefix"}  # conda run -n dask-worker dask-worker
ADDRESS_VARIABLE = "DASK_SCHEDULER_ADDRESS"
ADDRESS = re.compile(rf"^(tcp|tls|ucx|wss?)://|{ADDRESS_VARIABLE}")
ADDRESS_OF_VARIABLES = re.compile(rf"{ADDRESS.pattern}|:\d+$|:\$|sched|addr", re.IGNORECASE)
NOT_EXPANDED = re.compile(r"(?<!\$)\$(?:\{(\w+)[^}]*\}|([A-Za-z_]\w*))")
SEVERAL_OPTIONS = re.compile(r"--[\w-]+\s|.*\s--", re.DOTALL)
NOT_ONE_VALUE = re.compile(r"[$`]|\s--")
BYTES = re.compile(r"auto|(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*([kmgtp]i?)?b?", re.IGNORECASE)
AMOUNTS = {
    "--nthreads": (re.compile(r"\d+"), "a whole number"),
    "--memory-limit": (BYTES, "a number of bytes such as 4GiB, a fraction such as 0.5, or auto"),
}

IN_BACKGROUND = re.compile(r"(?<![&|])&(?!&)")
PASSES_ON = re.compile(r"\$([@*]|\{[@*]\})")
ENDS_SO = re.compile(rf"{PASSES_ON.pattern}\"?\s*$")
SAY_ONLY = {"echo", "printf", "which", "type", "command", "pkill"}


@dataclasses.dataclass(frozen=True)
class Word:
    """A word of a container's command line, or of the shell's text in it.

    `text` is as the program gets it, `raw` as it is written, in a shell's text with the blanks before it; `key` is the
    list that it is in. Of Dask's command, `part` is `name`, `option` or another; it is empty for other programs.
    """

    text: str
    raw: str
    key: str
    part: str = ""
    in_text: bool = False

    def like(self, text: str) -> Word:
        """Return another word behind this one."""
        return dataclasses.replace(self, text=text, raw=f" {shlex.quote(text)}" if self.in_text else text)

    def variable(self, name: str) -> Word:
        """Return a variable, which Kubernetes replaces, in place of this word."""
        return dataclasses.replace(self, text=f"$({name})", raw=f"{' ' * self.in_text}$({name})")

    def renamed(self, old: str, new: str) -> Word:
        """Return this word with a part of it replaced."""
        return dataclasses.replace(self, text=self.text.replace(old, new, 1), raw=self.raw.replace(old, new, 1))


@dataclasses.dataclass
class DaskCommand:
    """The Dask command that a container runs, directly, by another program or in a shell's text.

    `runs` is `worker` or `scheduler`; None if that cannot be seen, as of a script: then `role` is what it should run.
    `closed` says that no option can be added, as the text of a shell cannot be understood.
    """

    container: dict[str, Any]
    role: str
    words: list[Word]
    runs: str | None = None
    closed: bool = False

    @classmethod
    def of(cls, container: dict[str, Any], role: str) -> DaskCommand:
        """Find the command in a container; nothing is changed."""
        line = _line(container)
        at = shell_text.index([word.text for word in line])
        if at is not None:
            return cls._in_shell(container, role, line, at)
        # Options alone are for the image's entrypoint, which runs Dask; anything else is a program of its own.
        otherwise = (0, 0, role) if line and line[0].text.startswith("-") else (0, 1, None)
        start, end, runs = next(_positions([word.text for word in line]), otherwise)
        parts = [""] * start + ["name"] * (end - start)
        parts += ["option"] * (len(line) - len(parts))
        words = [dataclasses.replace(word, part=part) for word, part in zip(line, parts, strict=False)]
        return cls(container, role, words, runs)

    @classmethod
    def _in_shell(cls, container: dict[str, Any], role: str, line: list[Word], at: int) -> DaskCommand:
        text = line[at]
        words, runs = _marked(text) or ([dataclasses.replace(text, in_text=True)], None)
        dasks = "".join(word.raw for word in words if word.part) if runs else text.text
        zero, *rest = line[at + 1 :] or [dataclasses.replace(line[-1], text="--", raw="--")]
        if not (PASSES_ON if runs else ENDS_SO).search(dasks):
            return cls(container, role, [*line[:at], *words, *line[at + 1 :]], runs, closed=not runs)
        start, end, behind = (0, 0, None) if runs else next(_positions([word.text for word in rest]), (0, 0, None))
        parts = [""] * start + ["name"] * (end - start) + ["option"] * (len(rest) - end)
        rest = [dataclasses.replace(word, part=part) for word, part in zip(rest, parts, strict=True)]
        return cls(container, role, [*line[:at], *words, dataclasses.replace(zero, part="$0"), *rest], runs or behind)

    @property
    def is_cuda(self) -> bool:
        """Whether it is dask-cuda's, which starts a worker for each GPU."""
        names = {word.text.rpartition("/")[2] for word in self.words if word.part == "name"}
        return bool(names & {"cuda", "dask-cuda-worker"})

    def options(self) -> list[tuple[str, list[Word]]]:
        """Return the options by today's name, each with its value if that is a word of its own; '' are arguments."""
        words = [word for word in self.words if word.part == "option"]
        options = []
        while words:
            word = words.pop(0)
            name, equals, _ = word.text.partition("=")
            option = RENAMED.get(name, name) if name.startswith("-") else ""
            has_value = option in VALUED or (
                option not in FLAGS | DROPPED | {""}
                and words
                and not re.search(rf"^-|{ADDRESS.pattern}", words[0].text)
            )
            options.append((option, [word, *(words.pop(0) for _ in words[: bool(has_value and not equals)])]))
        return options

    def value(self, option: str) -> str | None:
        """Return an option's value; None if it is not there. Of several, Dask takes the last."""
        found = [words for name, words in self.options() if name == option]
        return (found[-1][1].text if len(found[-1]) > 1 else found[-1][0].text.partition("=")[2]) if found else None

    def add(self, options: Mapping[str, str]) -> None:
        """Add the options that are not there."""
        for option, value in options.items():
            if self.value(option) is None:
                end = max(index for index, word in enumerate(self.words) if word.part) + 1
                like = dataclasses.replace(self.words[end - 1], part="option")
                self.words[end:end] = [like.like(option), like.like(value)]
        self._write()

    def modernise(self) -> list[str]:
        """Bring the command up to date, without what the run decides; return a warning for each change."""
        warnings = [*self.translate(), *self._leave_out()]
        self._write()
        return warnings

    def translate(self) -> list[str]:
        """Bring names of commands and options up to date; return a warning for each change."""
        warnings = list(self._translate())
        self._write()
        return warnings

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield what is wrong with a command that is up to date: in which list, and a sentence."""
        key = self.words[-1].key if self.words else "args"
        role, processes = self.role, self.value("--nworkers")
        if self.closed:
            message = (
                f"gives a shell's -c text, to which the {role}'s options cannot be added; let it end with "
                f"'exec dask {role} \"$@\"' and add -- as the next word, or put [dask, {role}, …] in args"
            )
            yield key, message
        if self.runs not in {None, role}:
            yield key, f"runs dask {self.runs}; a {role} spec must run dask {role}"
        for word in self.words:
            if not word.in_text:
                yield from ((word.key, message) for message in self._problems_of(word))
        yield from ((key, message) for message in self._bad_amounts())
        if role == "worker" and processes is not None:
            if not re.fullmatch("0*[1-9][0-9]{0,5}", processes) or int(processes) > MAX_WORKERS:
                message = (
                    f"has --nworkers {processes}: give a number from 1 to {MAX_WORKERS}, for the run must know how "
                    "many workers a pod has"
                )
                yield key, message
            elif int(processes) > 1 and "--no-nanny" in dict(self.options()):
                yield key, f"has --nworkers {processes}, which needs nannies; leave out --no-nanny"

    def _bad_amounts(self) -> Iterator[str]:
        for option, (form, advice) in AMOUNTS.items():
            value = self.value(option) if self.runs == "worker" else None
            if value is not None and not form.fullmatch(value) and not NOT_ONE_VALUE.search(value):
                yield f"has {option} {value}: give {advice}"

    def _problems_of(self, word: Word) -> Iterator[str]:
        words = word.text.split()
        are_options = self.runs and word.part and SEVERAL_OPTIONS.match(word.text)
        # The text of python -c is one word.
        has_command = words != [word.text] and "import" not in words and any(_positions(words))
        if are_options or has_command or re.match(r"(worker|scheduler)\s+-", word.text):
            separate = json.dumps(words[words[0] == "exec" :], ensure_ascii=False)
            yield f"has {word.text!r}, which is one word to the program; write {separate}"
        unexpanded = NOT_EXPANDED.search(word.text) if self.runs and word.part else None
        if unexpanded:
            name = unexpanded[1] or unexpanded[2]
            yield (
                f"has {unexpanded[0]}, which Kubernetes does not replace; write $({name}) for a variable of the "
                f"container, or {{{{ env.{name} }}}} for one of the runner's"
            )

    def _translate(self) -> Iterator[str]:
        for word in [word for word in self.words if word.part == "name"]:
            path, name = re.fullmatch(r"(.*?)([^/]*)", word.text, re.DOTALL).groups()  # type: ignore[union-attr]
            if name in OLD:
                blanks = word.raw[: len(word.raw) - len(word.raw.lstrip(" \t\\\n"))] if word.in_text else ""
                first = dataclasses.replace(word, text=f"{path}dask", raw=f"{blanks}{path}dask")
                self._replace(word, first, word.like(OLD[name]))
                yield f"{name} is now dask {OLD[name]}"
        for option, (word, *value) in self.options():
            name = word.text.partition("=")[0]
            if name in DROPPED:
                self._replace(word)
                yield f"{name} is left out: workers do not reconnect any more, their pods are replaced"
            elif name in RENAMED:
                colon = ":" if name == "--bokeh-port" else ""
                self._replace(word, word.renamed(name, option).renamed("=", f"={colon}"))
                for port in value if colon else ():
                    self._replace(port, port.renamed(port.text, f":{port.text}"))
                yield f"{name} is now {option}"

    def _leave_out(self) -> Iterator[str]:
        options = self.options()
        decided = DECIDED[self.runs] if self.runs else ADDED[self.role]
        arguments = [words[0] for option, words in options if not option]
        address = self._address(arguments)
        for option, words in options:
            if option in decided or words[0] is address:
                # Without an address, Dask would take the next argument, which is a preload's, for it.
                is_followed = words[0] is address and address is not arguments[-1]
                instead = [words[0].variable(ADDRESS_VARIABLE)] if is_followed else []
                self._replace(words[0], *instead)
                for value in words[1:]:
                    self._replace(value)
                yield f"{' '.join(word.text for word in words)} is left out: the run decides it"

    def _address(self, arguments: Sequence[Word]) -> Word | None:
        """Return the argument that is the scheduler's address: the first, unless that may be something else."""
        if "scheduler" in {self.runs, self.role}:
            return None
        if self.runs and arguments and "$" not in arguments[0].text:
            return arguments[0]
        form = ADDRESS_OF_VARIABLES if self.runs else ADDRESS
        return next((word for word in arguments if form.search(word.text)), None)

    def _replace(self, old: Word, *new: Word) -> None:
        index = next(index for index, word in enumerate(self.words) if word is old)
        self.words[index : index + 1] = new

    def _write(self) -> None:
        line: dict[str, list[str]] = {"command": [], "args": []}
        for (key, in_text), words in groupby(self.words, lambda word: (word.key, word.in_text)):
            raw = [word.raw for word in words]
            line[key] += ["".join(raw)] if in_text else raw
        for key, texts in line.items():
            if texts:
                self.container[key] = texts
            else:
                self.container.pop(key, None)


def dask_command(pod: Mapping[str, Any], role: str) -> DaskCommand:
    """Return the Dask command of a pod of this role, which is in the container that `choose` chooses."""
    return DaskCommand.of(dask_container(pod, role), role)


def dask_container(pod: Mapping[str, Any], role: str) -> dict[str, Any]:
    """Return Dask's container of a pod of this role."""
    containers: list[dict[str, Any]] = pod["spec"]["containers"]
    return containers[choose(containers, role) or 0]


def choose(containers: Sequence[Mapping[str, Any]], role: str) -> int | None:
    """Return the index of the container that runs Dask in this role, else that is named so, else the only one's."""

    def rank(index: int) -> tuple[bool, ...]:
        name = containers[index].get("name", role)
        return role in mentioned(containers[index]), name == role, role in str(name).split("-")

    best = max(range(len(containers)), key=rank)
    return best if len(containers) == 1 or any(rank(best)) else None


def mentioned(container: Mapping[str, Any]) -> set[str]:
    """Return the roles whose commands are anywhere in a container's command line, understood or not."""
    words = [part for word in _line(container) for part in re.split(r"[\s'\"]+", word.text)]
    return {role for _, _, role in _positions(words)}


def modern(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """Translate a Dask command line of any age into today's; return it and a warning for each change."""
    container = {"args": list(args)}
    warnings = DaskCommand.of(container, "worker").translate()
    return container.get("args", []), warnings


def _line(container: Mapping[str, Any]) -> list[Word]:
    """Return the words of a container's command line; of what is no list of texts, the schema tells."""
    parts = {key: container.get(key) for key in ("command", "args")}
    return [
        Word(text, text, key)
        for key, texts in parts.items()
        if isinstance(texts, list) and all(isinstance(text, str) for text in texts)
        for text in texts
    ]


def _positions(texts: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """Yield where the words of a Dask command begin and end, and its role: no value of an option, no other path."""
    for start, text in enumerate(texts):
        folder, _, name = text.rpartition("/")
        is_value = start and texts[start - 1] in OF_ANOTHER_PROGRAM | VALUED
        if is_value or (folder and not folder.endswith("bin")):
            continue
        for command, role in COMMANDS.items():
            words = (name, *texts[start + 1 : start + len(command)])
            if words == command:
                yield start, start + len(command), role


def _marked(text: Word) -> tuple[list[Word], str] | None:
    """Split a shell's text into words, of which Dask's are marked; None if it is not sure which are."""
    tokens = shell_text.tokens(text.raw)
    if tokens is None:
        return None
    kinds = [kind for kind, _, _ in tokens]
    words = [Word(plain, raw, text.key, in_text=True) for _, raw, plain in tokens]
    commands = []
    for is_end, places in groupby(range(len(words)), lambda place: kinds[place] in {"end", "rest"}):
        command = [place for place in places if kinds[place] != "comment"]
        if command and not is_end:
            commands.append((command, next(_positions([words[place].text for place in command]), None)))
    runs = [(command, at) for command, at in commands if at and words[command[0]].text not in SAY_ONLY]
    behind = range(runs[0][0][0], len(words)) if runs else ()
    if any(kinds[place] == "end" and IN_BACKGROUND.search(words[place].raw) for place in behind):
        return None
    command, at = (runs if len(runs) == 1 else commands[-1:] or [([], None)])[0]
    if not at:
        return None
    start, end, role = at
    for number, place in enumerate(command[start:], start):
        part = "name" if number < end else "option" if kinds[place] == "word" else kinds[place]
        words[place] = dataclasses.replace(words[place], part=part)
    return words, role


def worker() -> None:
    """Be `dask-worker`: `dask worker` with flags of any age."""
    from distributed.cli.dask_worker import main

    _run(main, "worker")


def scheduler() -> None:
    """Be `dask-scheduler`: `dask scheduler` with flags of any age."""
    from distributed.cli.dask_scheduler import main

    _run(main, "scheduler")


def _run(main: object, name: str) -> None:
    args, warnings = modern(sys.argv[1:])
    for warning in warnings:
        print(f"dask-{name}: {warning}", file=sys.stderr)  # noqa: T201
    main(args=args, prog_name=f"dask-{name}")  # type: ignore[operator]
