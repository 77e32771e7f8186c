"""The context that a task sees."""

import logging
from datetime import UTC, datetime, timedelta

from simple_tasks import simple_tasks


def names(lib):
    @lib.task
    def here():
        return [lib.context.task_name, lib.context.flow_name, lib.context.get("map_index")]

    with lib.Flow("the flow") as flow:
        here()
        here(task_args={"name": "another"})
    return flow, {}


def full_name(lib):
    @lib.task
    def here(x):
        return lib.context.get("task_full_name")

    with lib.Flow("flow") as flow:
        here(1)
        here.map([1, 2])
    return flow, {}


def map_index(lib):
    @lib.task
    def here(x):
        return [lib.context.task_name, lib.context.map_index, x]

    with lib.Flow("flow") as flow:
        here.map(here.map("ab"))
    return flow, {}


def run_count(lib):
    @lib.task(max_retries=1, retry_delay=timedelta(0))
    def here(x=None):
        if lib.context.task_run_count == 1 and x != 1:
            raise ValueError("first")
        return lib.context.task_run_count

    with lib.Flow("flow") as flow:
        here()
        here.map([1, 2])
    return flow, {}


def parameters(lib):
    @lib.task
    def here(x=None):
        return sorted(lib.context.parameters.items())

    with lib.Flow("flow") as flow:
        here(lib.Parameter("a", default=1))
        here.map([0], upstream_tasks=[lib.unmapped(lib.Parameter("b"))])
    return flow, {"b": "given"}


def dates(lib):
    @lib.task
    def here():
        date = lib.context.date
        days = [lib.context.yesterday, lib.context.today, lib.context.tomorrow]
        return [
            days[1] == date.strftime("%Y-%m-%d"),
            days == sorted(days),
            lib.context.today_nodash == lib.context.today.replace("-", ""),
            date.utcoffset().total_seconds(),
        ]

    with lib.Flow("flow") as flow:
        here()
    return flow, {}


def given_date(lib):
    return _with_days(lib, date="2020-02-28T22:00:00")


def given_date_that_is_none(lib):
    flow, options = _with_days(lib, date="soon")
    options["context"]["today"] = "given"
    return flow, options


def given_scheduled_start_time(lib):
    return _with_days(lib, scheduled_start_time="2020-02-28")


def _with_days(lib, **context):
    @lib.task
    def here():
        names = [f"{day}{form}" for day in ("yesterday", "today", "tomorrow") for form in ("", "_nodash")]
        date, now = lib.context.date, datetime.now(UTC)
        return [
            date if isinstance(date, str) else abs((date - now).total_seconds()) < 60 or date.isoformat(),
            [lib.context[name].replace(f"{now:%Y}", "now") for name in names if name in context or "date" in context],
            lib.context.today == f"{now:%Y-%m-%d}",
        ]

    with lib.Flow("flow") as flow:
        here()
    return flow, {"context": context}


def tags(lib):
    @lib.task(tags=["a"])
    def here():
        return set(lib.context.task_tags)

    with lib.Flow("flow") as flow:
        here()
    return flow, {}


def given_by_the_run(lib):
    @lib.task
    def here(x=None):
        return [lib.context.mine, lib.context.get("absent", "default"), "mine" in lib.context]

    with lib.Flow("flow") as flow:
        here()
        here.map([1])
    return flow, {"context": {"mine": {"a": 1}}}


def where_the_run_begins(lib):
    @lib.task
    def here(x=None):
        return [lib.context.mine, lib.context.get("given")]

    with lib.Flow("flow") as flow:
        here()
        here.map([1])
    run = flow.run

    def run_inside(**options):
        with lib.context(mine=1, given=2):
            return run(**options)

    flow.run = run_inside
    return flow, {"context": {"given": 3}}


def set_as_an_attribute(lib):
    @lib.task
    def here(x=None):
        before = lib.context.get("mine")
        lib.context.mine = 5
        lib.context["other"] = 6
        return [before, lib.context.mine, lib.context.other]

    with lib.Flow("flow") as flow:
        here(here())
    return flow, {}


def absent(lib):
    @lib.task
    def here():
        return lib.context.absent

    with lib.Flow("flow") as flow:
        here()
    return flow, {}


def of_a_trigger(lib):
    def trigger(states):
        return lib.context.get("task_name") == "here" and lib.context.get("parameters") == {"p": 1}

    t = simple_tasks(lib)

    @lib.task(trigger=trigger)
    def here(x):
        return x

    with lib.Flow("flow") as flow:
        here(lib.Parameter("p", default=1))
        t.one()
    return flow, {}


def of_a_task_with_a_timeout(lib):
    @lib.task(timeout=20)
    def here():
        return lib.context.task_name

    with lib.Flow("flow") as flow:
        here()
    return flow, {}


def as_a_context_manager(lib):
    @lib.task
    def here():
        with lib.context(mine=5):
            inside = lib.context.mine
        return [inside, lib.context.get("mine")]

    with lib.Flow("flow") as flow:
        here()
    return flow, {}


def changes_stay_in_the_task(lib):
    @lib.task
    def here(x=None):
        seen = lib.context.get("mine")
        lib.context.update(mine=5)
        return seen

    with lib.Flow("flow") as flow:
        here(here())
    return flow, {}


def _logger_of_prints(lib):
    return logging.getLogger("dask_flow.task" if lib.name == "dask_flow" else lib.name)


def _caught(logger, call):
    class Catch(logging.Handler):
        def emit(self, record):
            records.append(f"{record.levelname} {record.getMessage()}")

    records = []
    catch = Catch()
    level = logger.level
    logger.addHandler(catch)
    logger.setLevel(logging.INFO)
    try:
        call()
    finally:
        logger.removeHandler(catch)
        logger.setLevel(level)
    return records


def logger(lib):
    @lib.task
    def here():
        return _caught(lib.context.logger, lambda: lib.context.logger.info("hello"))

    with lib.Flow("flow") as flow:
        here()
    return flow, {}


def log_stdout(lib):
    @lib.task(log_stdout=True)
    def here():
        return [line.strip() for line in _caught(_logger_of_prints(lib), lambda: print("hello"))]  # noqa: T201

    with lib.Flow("flow") as flow:
        here()
    return flow, {}


def logger_of_a_subclass(lib):
    class Logs(lib.Task):
        def run(self):
            return _caught(self.logger, lambda: self.logger.warning("careful"))

    with lib.Flow("flow") as flow:
        Logs()()
    return flow, {}
