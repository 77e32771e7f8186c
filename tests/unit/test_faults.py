"""The sweep of faults in bench/ tells a wrong end of a run from a right one."""

import pytest
from faults import FAULTS, Fault, Seen, table, tried, wrong
from namespaces import ROOT

FAILS = Fault("task raises", (1,), "boom")
RIGHT = Seen("failed", (1,), "the flow failed: boom", "Traceback of the flow")
TWICE = Fault("runner is killed", (137, 0), "", result="7", seconds=20)
RIGHT_TWICE = Seen("complete", (137, 0), "Error", "log", "7", seconds=3)


@pytest.mark.parametrize(
    ("fault", "seen", "expected"),
    [
        (FAILS, RIGHT, []),
        (FAILS, RIGHT._replace(outcome="complete"), ["complete, not failed"]),
        (FAILS, RIGHT._replace(codes=(4, 4)), ["exit code 4, 4, not 1"]),
        (FAILS, RIGHT._replace(reason="the flow failed"), ["nothing says `boom`"]),
        (FAILS, RIGHT._replace(reason="boom \x1b[0m"), ["control characters in the reason"]),
        (FAILS, RIGHT._replace(left={"pod/w", "pod/a"}), ["left: pod/a, pod/w"]),
        (TWICE, RIGHT_TWICE, []),
        (TWICE, RIGHT_TWICE._replace(result="8"), ["result 8"]),
        (TWICE, RIGHT_TWICE._replace(result=""), ["result missing"]),
        (TWICE, RIGHT_TWICE._replace(log="Traceback"), ["traceback in the log"]),
        (TWICE, RIGHT_TWICE._replace(seconds=31), ["took 31 s, not 20 s"]),
    ],
)
def test_sweep_says_what_is_wrong_with_the_end_of_a_run(fault, seen, expected):
    assert list(wrong(fault, seen)) == expected


def test_sweep_has_forty_faults_of_different_names():
    names = [f"{kind}: {fault.name}" for kind, faults in FAULTS.items() for fault in faults]

    assert len(names) == len(set(names)) >= 40


def test_sweep_goes_on_after_a_fault_that_could_not_be_tried(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")

    row = tried("the flow fails", FAILS, "localhost/nothing:1")

    assert row["verdict"].startswith("not tried: ")
    assert list(table([row]))[-1] == "\n0 of 1 faults ended as they must."


def test_docs_have_all_faults():
    page = (ROOT / "docs/failures.md").read_text(encoding="utf-8")

    missing = [
        kind
        for kind, faults in FAULTS.items()
        if f"| {kind} | {len(faults)}: {'; '.join(fault.name for fault in faults)} |" not in page
    ]
    assert missing == []
