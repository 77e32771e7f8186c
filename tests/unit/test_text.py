"""Texts that are none, or too much of one, wherever they come from: they end no worker, run, log or report."""

import itertools
import json
import logging
import os
import re
import subprocess
import sys
import threading

import cloudpickle
import pytest
from dask_flow.log import described, user_traceback
from dask_flow.sendable import sendable
from dask_flow.text import one_line, printable

NO_TEXT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Text(str):
    """A text that does harm when it is asked for one."""

    __slots__ = ()

    def __str__(self):
        raise RuntimeError


KINDS = """
import os, time
from dask_flow import Flow, context, task

NAME = os.fsdecode(b"caf\\xe9.csv")
TEXTS = {"name": NAME, "nul": "a\\0b", "ansi": "\\x1b[31mred", "return": "10%\\r20%", "line": "x" * 1_000_000,
         "lines": "line\\n" * 200_000}


def slow(_):
    time.sleep(600)


def refuses(_):
    raise RuntimeError("not bound to a session")


def leaves(_):
    raise SystemExit(3)


def endless(value):
    return str(value)


TEXT_OF = {"Name": lambda _: NAME, "Slow": slow, "Row": refuses, "Leaves": leaves, "Endless": endless}
KINDS = [type(kind, (Exception,), {"__str__": text, "__repr__": text}) for kind, text in TEXT_OF.items()]
for kind in KINDS:
    kind.__module__ = "__main__"
"""
FINE = f"""{KINDS}
@task
def say(text):
    print("printed", text)
    print(text, end="")
    context.logger.info("logged %s", text)
    context.logger.info("no number: %d", text)
    return text


@task
def value(kind):
    context.logger.info("logged %s", KINDS[kind]())
    return KINDS[kind]()


@task
def large():
    return 10 ** 5000, [0] * 10 ** 6


with Flow(f"texts of {{NAME}}") as flow:
    for name, text in TEXTS.items():
        if name != "lines":
            say(text, task_args={{"name": text}})
    value.map(list(range(len(KINDS))))
    for number in range(len(KINDS)):
        value(number)
    large()
"""
FAILS = f"""{KINDS}
class Unpicklable(Exception):
    def __reduce__(self):
        raise TypeError(NAME)


class Unloadable(Exception):
    def __init__(self, one, two):
        super().__init__(NAME)


MAKERS = [*(lambda text=text: ValueError(text) for text in TEXTS.values()), *KINDS, lambda: ValueError("x" * 5_000_000),
          lambda: Unpicklable(NAME), lambda: Unloadable(1, 2)]


@task
def fails(number):
    raise MAKERS[number]()


with Flow("failures") as flow:
    for number in range(len(MAKERS)):
        fails(number, task_args={{"name": f"fails {{number}}"}})
    fails.map(list(range(len(MAKERS))))
"""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("caf\udce9", r"caf\udce9"),
        ("a\0b\x1b[31m\x7f\x85\u2028\u202e", r"a\x00b\x1b[31m\x7f\x85\u2028\u202e"),
        ("10%\r20%\r\n\tdone\r\n30%\r", "10%\\r20%\n\tdone\n30%"),
        ("日本語 é\xa0\U0001f642 \\x00", "日本語 é\xa0\U0001f642 \\x00"),
        (KeyError("a"), "KeyError('a')"),
        ({1: [2]}, "{1: [2]}"),
        (10**5000, "<int that cannot be shown: ValueError: Exceeds the limit (4300 digits) for integer"),
        (dict.fromkeys(range(5000)), "98: None, 99: None}… (5,000 items in all)"),
        (Text("a\0"), r"a\x00"),
    ],
    ids=itertools.count(),  # pytest, too, would ask the values for their texts
)
def test_text_of_a_value_can_go_anywhere(value, text):
    assert text in printable(value)
    assert printable(printable(value)) == printable(value)


def test_long_text_says_how_much_is_left_out():
    text = printable("a" * 1_000_000 + "the end", 1000)

    assert re.fullmatch(r"a+… \(999,057 characters left out\) …a+the end", text)
    assert printable(text, 1000) == text
    assert len(one_line("\n" * 10_000, 100)) <= 200


def test_errors_are_described_whatever_they_are():
    class BadError(Exception):
        def __str__(self):
            raise BadError

    assert described(BadError()) == "BadError: <BadError that cannot be shown: BadError>"
    assert "BadError: <exception str() failed>" in user_traceback(BadError())
    assert len(user_traceback(ValueError("x" * 5_000_000))) < 30_000
    assert described(ValueError("two\nlines \x1b")) == r"ValueError: two lines \x1b"


class LoadError(Exception):
    """Cannot be unpickled, as many errors with a constructor of their own."""

    def __init__(self, table, rows):
        super().__init__(f"{table} has {rows} rows" if table else "")


@pytest.mark.parametrize("error", [LoadError("sales", 0), LoadError("", 0), ValueError("x" * 2_000_000)])
def test_error_that_cannot_be_sent_is_shown_as_where_it_was_raised(error):
    sent = cloudpickle.loads(cloudpickle.dumps(sendable(error)))

    assert described(sent).split("…")[0] in described(error)
    assert user_traceback(sent)[:1000] == user_traceback(error)[:1000]


def test_only_the_first_value_of_a_slow_type_is_waited_for():
    end = threading.Event()
    slow = type("Slow", (), {"__repr__": lambda _: end.wait(600)})
    line = logging.LogRecord.getMessage
    texts = [printable(slow()), printable(slow()), printable(logging.makeLogRecord({"msg": slow()}), form=line)]
    end.set()

    assert ["before" in text for text in texts] == [False, True, False]
    assert printable(logging.makeLogRecord({"msg": "a line"}), form=line) == "a line"


def test_text_that_only_this_thread_has_or_without_another_thread_is_shown(monkeypatch):
    here = threading.get_ident()
    own = type("Own", (), {"__repr__": lambda _: "mine" if threading.get_ident() == here else 1 / 0})

    assert printable(own()) == "mine"

    def no_more_threads(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_more_threads)
    assert printable(own()) == "mine"


def run(folder, flow, *options):
    """Return what came of a run, its log, its report and the message that Kubernetes gets."""
    (folder / "flow.py").write_text(flow)
    (folder / "message").touch()
    env = {**os.environ, "DASK_FLOW_TERMINATION_LOG": str(folder / "message"), "PYTHONIOENCODING": "utf-8:strict"}
    env["DASK_DISTRIBUTED__SCHEDULER__DASHBOARD_ADDRESS"] = ":0"
    command = [sys.executable, "-m", "dask_flow", "run", folder / "flow.py", "--report", folder / "reports"]
    command += ["--cluster", "local", "--max-workers", "1", *options]
    done = subprocess.run(command, capture_output=True, env=env, check=False, timeout=280)
    (report,) = (folder / "reports").glob("*/report.json")
    return done.returncode, done.stderr.decode(), report.parent, (folder / "message").read_text()


@pytest.mark.parametrize(("flow", "code", "form"), [(FINE, 0, "text"), (FAILS, 1, "json")])
def test_texts_that_are_none_end_nothing_and_reach_nobody(tmp_path, flow, code, form):
    exit_code, log, folder, message = run(tmp_path, flow, "--log-format", form)

    log = "\n".join(
        log.splitlines()
        if form == "text"
        else (json.loads(line)["message"] for line in log.splitlines() if line.startswith("{"))
    )
    texts = [log, message, *(path.read_text() for path in (*folder.glob("report.*"), folder / "logs/runner.log"))]
    assert exit_code == code, log[-5000:]
    assert all(r"caf\udce9.csv" in text.replace("\\\\", "\\") for text in texts if text != message)
    assert not any(NO_TEXT.search(text) for text in texts)
    assert max(map(len, log.splitlines())) < 300_000
    assert max(map(len, texts)) < 20_000_000
    assert all(word in log for word in ("characters left out", "cannot be shown: RuntimeError: not bound to a session"))
    assert "KilledWorker" not in log
    assert "RuntimeError: Un" not in log
    assert "Logging error" not in log
    assert "Traceback" in log if code else "the flow succeeded" in message
    assert len(message.encode()) <= 4096
    assert json.loads((folder / "report.json").read_text())["exit_code"] == code
