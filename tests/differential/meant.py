"""Where dask_flow means to differ from Prefect 1. Each entry is asserted to differ, so none outlives its reason."""

from fnmatch import fnmatchcase
from typing import NamedTuple


class Meant(NamedTuple):
    """A row of the table in the docs; `cases` and `paths` of their outcomes are globs; so is what is `shown` here."""

    what: str
    prefect: str
    here: str
    why: str
    cases: str
    paths: str = "*"
    shown: tuple[str, str] = ("error", "InputError*")

    def covers(self, case, path):
        return fnmatchcase(case, self.cases) and fnmatchcase(path, self.paths)

    @property
    def row(self):
        return f"| {self.what} | {self.prefect} | {self.here} | {self.why} |"


BAD_INPUT = "A flow that cannot run is bad input, which a run says before it starts anything."

MEANT = [
    Meant(
        "A flow without tasks",
        "`Success`",
        "`InputError`",
        "Something was forgotten: tasks called outside the `with` block, most often.",
        "building.flow_without_tasks",
    ),
    Meant(
        "A cycle",
        "`flow.run()` returns `Failed`",
        "`InputError` that names the tasks",
        BAD_INPUT,
        "outcomes.cycle_is_found_by_run",
        shown=("error", "*has a cycle: *"),
    ),
    Meant(
        "A task that waits for itself",
        "`ValueError` when the edge is added",
        "`InputError` when the flow runs, as for longer cycles",
        "One check, one message.",
        "outcomes.task_upstream_of_itself",
        "raises/when",
        ("error", "*has a cycle: *"),
    ),
    Meant(
        "A task bound imperatively that lacks an argument",
        "The task is `Failed` with a `TypeError`",
        "`InputError` that names the task and the argument",
        BAD_INPUT,
        "outcomes.missing_argument_of_an_imperative_task",
    ),
    Meant(
        "An argument that the task does not have, bound imperatively",
        "The task is `Failed` with a `TypeError`",
        "`InputError` when it is bound",
        BAD_INPUT,
        "outcomes.unknown_argument_of_an_imperative_task",
    ),
    Meant(
        "`f.map([1, 2], y=5)`, a constant without items",
        "The task is `Failed` when the flow runs",
        "`InputError` at the call, which says `unmapped(…)`",
        BAD_INPUT,
        "maps.keyword_constant_without_unmapped",
        shown=("error", "*unmapped*"),
    ),
    Meant(
        "`f.map(upstream_tasks=[[1, 2]])`, a constant in `upstream_tasks`",
        "Mapped over",
        "`InputError`",
        "A constant is nothing to wait for; hand it over as an argument.",
        "maps.mapped_task_args",
    ),
    Meant(
        "Mapping over a task that returns a dict",
        "The whole run fails with `KeyError(0)`",
        "The task is `Failed`: `At least one upstream state has an unmappable result.`",
        "A fault of Prefect's; other results without items by number are handled so there too.",
        "maps.over_a_dictionary",
        shown=("tasks/same#2/message", "At least one upstream state has an unmappable result."),
    ),
    Meant(
        "`ifelse` or `switch` with a list of tasks",
        "All tasks in the lists run, with a warning",
        "`InputError`, which says `with case(…)`",
        "They are not what the condition is for.",
        "control_flow.list_of_tasks_as_a_branch",
        shown=("error", "*with case(task, True)*"),
    ),
    Meant(
        "A task function with `*args`",
        "`ValueError` when the task is made",
        "`InputError` when it is called with such arguments",
        "Without them it can run.",
        "outcomes.variable_positional_arguments",
        shown=("tasks/total/state", "Success"),
    ),
    Meant(
        "`timeout=0.5`",
        "`TypeError`: only whole seconds",
        "Half a second",
        "There is no reason to refuse it.",
        "retries.timeout_of_a_fraction",
        shown=("flow/state", "Success"),
    ),
    Meant(
        "The result of a task that timed out",
        "`TaskTimeoutSignal('Execution timed out.')`",
        "A `TimeoutError` that says which task and how long",
        "The log and the report show it; Python's own class needs no import.",
        "*.timed_out*",
        "tasks/slow*/result",
        ("tasks/slow/result", "*TaskTimeoutError(Execution timed out for *: it took more than 1 s)*"),
    ),
    Meant(
        "The message of an item of a map that raised `signals.SUCCESS`",
        "The signal's",
        "`Task run succeeded.`",
        "Of items that succeed only the value is kept, so that a hundred thousand need little memory.",
        "signals.in_a_map",
        "tasks/signals/children/1/message",
        ("tasks/signals/children/1/message", "Task run succeeded."),
    ),
    Meant(
        "`context.NAME` that is not there",
        "`'Context' object has no attribute …`",
        "The same `AttributeError`, with the names that are there",
        "It says what to do.",
        "contexts.absent",
        "tasks/here/*",
        ("tasks/here/result", "*AttributeError(the context has no 'absent' here; it has *"),
    ),
]


def differences(case, expected, actual):
    """Return the differences of two outcomes that are not meant, as lines, and the entries that cover the others."""
    unmeant, applied = [], set()
    for path in sorted({*expected, *actual} - {"error"}):
        ours, theirs = actual.get(path, "nothing"), expected.get(path, "nothing")
        if ours == theirs:
            continue
        found = {entry for entry in MEANT if entry.covers(case, path)}
        applied |= found
        if not found:
            unmeant.append(f"{path}: Prefect {theirs!r}, dask_flow {ours!r}")
    return unmeant, applied
