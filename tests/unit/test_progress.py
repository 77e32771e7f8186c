"""How far a run is: the lines in its log, and what is shown of them."""

import io
import itertools
import json
from types import SimpleNamespace

import dask
import pytest
from dask_flow.progress import Progress, TaskCounts, _Observer, logged_progress, parse
from dask_flow.remote.follow import Attempt, Line, Waiting
from dask_flow.remote.views import LiveView, PlainView
from distributed import Client
from rich.console import Console
from test_cli import dask_flow, write
from waiting import eventually

FLOW = """
import time
from dask_flow import Flow, task
@task
def load(number):
    time.sleep(0.3)
@task
def add(parts):
    raise ValueError('on purpose')
with Flow('f') as flow:
    add([load(number) for number in range(4)])
"""
PROGRESS = Progress(
    3,
    "1.20 GiB of 4.00 GiB",
    (TaskCounts("load", 12, 12), TaskCounts("clean: it, up", 3, 12, 2), TaskCounts("add", 0, 2, 0, 1)),
)


def test_line_is_read_as_it_was_written():
    assert PROGRESS.line() == (
        "progress: 3 workers, 1.20 GiB of 4.00 GiB; load: 12 of 12 done; clean: it, up: 3 of 12 done, 2 running; "
        "add: 0 of 2 done, 1 failed"
    )
    assert parse(f"22:20:12 {PROGRESS.line()}\n") == PROGRESS
    assert parse(json.dumps({"time": "t", "level": "info", "message": PROGRESS.line()})) == PROGRESS
    assert parse(Progress(1, "0 B of 1.00 GiB", ()).line()) == Progress(1, "0 B of 1.00 GiB", ())


@pytest.mark.parametrize("line", ["", "22:20:12 the flow succeeded", "progress: good", "progress: 1 worker, x; y"])
def test_other_lines_are_no_progress(line):
    assert parse(line) is None


def test_line_of_many_names_has_those_that_are_not_done():
    tasks = tuple(TaskCounts(f"t{number}", number % 2, 1) for number in range(100))

    shown = parse(Progress(1, "x", tasks).line()).tasks

    assert len(shown) == 21
    assert {each.done for each in shown[:20]} == {0}
    assert shown[20] == TaskCounts("80 more names", 50, 80)


def test_run_logs_how_far_it_is_up_to_its_end(tmp_path):
    done = dask_flow("run", write(tmp_path, FLOW), "--progress", "0.1", "--cluster", "local", "--min-workers", "1")

    seen = [found for found in map(parse, done.stderr.splitlines()) if found]
    assert done.returncode == 1
    assert [each for each in seen if each.tasks and 0 < each.tasks[0].done < 4]
    assert seen[-1].workers == 1
    assert {each.name: (each.done, each.total, each.failed) for each in seen[-1].tasks} == {
        "load": (4, 4, 0),
        "add": (0, 1, 1),
    }


def test_run_does_not_log_it_unless_it_is_asked_to(tmp_path):
    assert "progress: " not in dask_flow("run", write(tmp_path, "def main(): return 1\n")).stderr


def test_error_is_logged_once_and_the_progress_goes_on(caplog):
    caplog.set_level("INFO", "dask_flow")
    busy = {"done": 1, "failed": 0, "running": 1, "waiting": 0}
    answer = {"workers": 1, "memory": 1, "limit": 2, "tasks": {"load": busy}}
    answers = itertools.chain([answer, OSError("no route"), OSError("no route")], itertools.repeat(answer))

    def asked(_):
        now = next(answers)
        if isinstance(now, OSError):
            raise now
        return {**now, "tasks": dict(now["tasks"])}

    with logged_progress(SimpleNamespace(run_on_scheduler=asked), 0.01):
        eventually(lambda: any("progress: " in each.getMessage() for each in caplog.records))

    warnings = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert warnings == ["the scheduler does not tell the progress; it is asked again: OSError: no route"]


def test_scheduler_that_runs_no_functions_is_asked_otherwise(tmp_path):
    blocked = {"DASK_DISTRIBUTED__SCHEDULER__BLOCKED_HANDLERS": "['feed', 'run_function']"}

    done = dask_flow("run", write(tmp_path, FLOW), "--progress", "0.1", "--cluster", "local", **blocked)

    seen = [found for found in map(parse, done.stderr.splitlines()) if found]
    assert {each.name: each.done for each in seen[-1].tasks}["load"] == 4


def test_workers_are_counted_whatever_else_asks_the_scheduler():
    # So often, a client renews what scheduler_info() returns, with no workers in it.
    often = dask.config.set({"distributed.client.scheduler-info-interval": "1ms"})
    with often, Client(n_workers=1, processes=False, dashboard_address=None) as client:
        observer = _Observer(client)
        assert {observer._told()["workers"] for _ in range(300)} == {1}


def test_plain_view_keeps_the_log_apart_from_what_is_said_of_it(capsys):
    for event in (Waiting("a node"), Attempt(1, "r-a"), Line("hello"), Line(PROGRESS.line()), Attempt(2, "r-b")):
        PlainView().show(event)

    out, err = capsys.readouterr()
    assert out == f"hello\n{PROGRESS.line()}\n"
    assert err == "waiting: a node\nrunner r-a\nattempt 2, runner r-b\n"


def screen(view, width=80, height=24, **options):
    """Return what the live part of a view looks like."""
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, **options)
    console.print(view)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_live_view_has_a_line_for_each_name_and_fits(width):
    console = Console(file=io.StringIO(), width=width, height=24, force_terminal=True, no_color=True)
    view = LiveView(console)
    view.show(Attempt(1, "flights-x7k2p-abcde"))
    view.show(Line("22:00:00 hello"))
    view.show(Line(f"22:00:00 {PROGRESS.line()}"))

    lines = screen(view, width, no_color=True).replace("\x1b[2m", "").replace("\x1b[0m", "").splitlines()

    assert console.file.getvalue() == "22:00:00 hello\n"
    assert [line.split() for line in lines[:3]] == [
        ["load", "█" * 24, "12/12"],
        ["clean:", "it,", "up", "█" * 6 + "░" * 18, "3/12", "2", "running"],
        ["add", "▒" * 12 + "░" * 12, "0/2", "1", "failed"],
    ]
    assert lines[3] == "0:00 runner flights-x7k2p-abcde · 3 workers, 1.20 GiB of 4.00 GiB"
    assert max(map(len, lines)) <= width


def test_live_view_of_many_names_leaves_room_on_the_screen():
    console = Console(file=io.StringIO(), width=80, height=10, force_terminal=True)
    view = LiveView(console)
    tasks = tuple(TaskCounts(f"t{number}", 0, 1) for number in range(20))
    view.show(Line(Progress(1, "x", tasks).line()))

    assert len(screen(view, height=10).splitlines()) < 10


def test_errors_of_the_log_are_red_where_there_are_colours():
    texts = []
    for options in ({}, {"no_color": True}):
        console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system="standard", **options)
        LiveView(console).show(Line("22:00:00 error: it failed"))
        texts.append(console.file.getvalue())

    assert texts == ["\x1b[31m22:00:00 error: it failed\x1b[0m\n", "22:00:00 error: it failed\n"]


def test_what_a_cluster_that_stays_has_computed_before_does_not_count():
    def seen(done, waiting):
        counts = {"done": done, "failed": 0, "running": 1, "waiting": waiting}
        return {"workers": 2, "memory": 1, "limit": 2, "tasks": {"load": counts, "dask-flow-x": counts}}

    answers = iter([seen(10, 0), seen(12, 3)])
    observer = _Observer(SimpleNamespace(run_on_scheduler=lambda _: next(answers)))
    observer.begin()

    assert observer.progress().tasks == (TaskCounts("load", 2, 6, 1, 0),)
