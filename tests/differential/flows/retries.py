"""Retries and time-outs."""

import time
from datetime import timedelta

from simple_tasks import simple_tasks

NOW = timedelta(0)
SOON = timedelta(milliseconds=30)


def _works_at(lib, attempt, error=ValueError, **options):
    @lib.task(name=f"works at {attempt}", **options)
    def run(x=None):
        count = lib.context.task_run_count
        if count < attempt:
            raise error(f"attempt {count}")
        return (count, x)

    return run


def second_attempt_works(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same(_works_at(lib, 2, max_retries=2, retry_delay=NOW)())
    return flow, {}


def delay(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same(_works_at(lib, 3, max_retries=2, retry_delay=SOON)())
    return flow, {}


def exhausted(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        failed = _works_at(lib, 9, max_retries=2, retry_delay=NOW)()
        t.same(failed)
        t.finished(failed)
    return flow, {}


def no_retries(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.finished(_works_at(lib, 2)())
    return flow, {}


def arguments_stay(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        _works_at(lib, 2, max_retries=1, retry_delay=NOW)(t.one())
        _works_at(lib, 3, max_retries=2, retry_delay=NOW)([t.one(), 5])
    return flow, {}


def mapped(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        children = _works_at(lib, 2, max_retries=1, retry_delay=NOW).map(t.numbers())
        t.same.map(children)
        t.same(children, task_args={"name": "reduce"})
    return flow, {}


def mapped_children_some_of_which_fail(lib):
    @lib.task(max_retries=2, retry_delay=NOW)
    def fragile(x):
        if lib.context.task_run_count <= x:
            raise ValueError(f"{x} at {lib.context.task_run_count}")
        return x

    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        children = fragile.map([0, 1, 2, 3])
        t.finished(children)
        t.same.map(children)
    return flow, {}


def downstream_of_a_retried_map(lib):
    t = simple_tasks(lib)
    again = _works_at(lib, 2, max_retries=1, retry_delay=NOW)
    with lib.Flow("flow") as flow:
        again.map(again.map([1, 2]), task_args={"name": "second map"})
        t.same.map(again([5, 6], task_args={"name": "list"}))
    return flow, {}


def retry_on_a_class(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.finished(_works_at(lib, 2, max_retries=1, retry_delay=NOW, retry_on=ValueError)())
        t.finished(_works_at(lib, 3, max_retries=5, retry_delay=NOW, retry_on=KeyError)())
        t.finished(_works_at(lib, 2, KeyError, max_retries=1, retry_delay=NOW, retry_on=(LookupError, OSError))())
    return flow, {}


def another_error_at_the_second_attempt(lib):
    @lib.task(max_retries=3, retry_delay=NOW, retry_on=[KeyError])
    def fickle():
        if lib.context.task_run_count == 1:
            raise KeyError("first")
        raise ValueError("second")

    with lib.Flow("flow") as flow:
        fickle()
    return flow, {}


def retry_signal(lib):
    t = simple_tasks(lib)

    @lib.task
    def again():
        if lib.context.task_run_count < 4:
            raise lib.signals.RETRY("not yet")
        return lib.context.task_run_count

    with lib.Flow("flow") as flow:
        t.same(again())
    return flow, {}


def retry_signal_in_a_map(lib):
    @lib.task
    def again(x):
        if lib.context.task_run_count < x:
            raise lib.signals.RETRY
        return lib.context.task_run_count

    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same(again.map([1, 2, 3]))
    return flow, {}


def fail_signal_is_retried(lib):
    @lib.task(max_retries=1, retry_delay=NOW)
    def fails():
        raise lib.signals.FAIL(f"attempt {lib.context.task_run_count}", result=lib.context.task_run_count)

    with lib.Flow("flow") as flow:
        fails()
    return flow, {}


def fail_signal_and_retry_on(lib):
    @lib.task(max_retries=1, retry_delay=NOW, retry_on=ValueError)
    def fails():
        raise lib.signals.FAIL("no", result=5)

    @lib.task(max_retries=1, retry_delay=NOW, retry_on=Exception)
    def fails_itself():
        raise lib.signals.FAIL("no")

    @lib.task(max_retries=1, retry_delay=NOW, retry_on=ValueError)
    def fails_with_nothing():
        raise lib.signals.FAIL("no", result=None)

    with lib.Flow("flow") as flow:
        fails()
        fails_itself()
        fails_with_nothing()
    return flow, {}


def skip_and_success_after_a_retry(lib):
    t = simple_tasks(lib)

    def ends_with(signal):
        @lib.task(name=signal, max_retries=2, retry_delay=NOW)
        def run():
            if lib.context.task_run_count == 1:
                raise ValueError("first")
            raise getattr(lib.signals, signal)("second", result=5)

        return run

    with lib.Flow("flow") as flow:
        for signal in ("SKIP", "SUCCESS", "FAIL"):
            t.survives(ends_with(signal)())
    return flow, {}


def trigger_failure_is_not_retried(lib):
    t = simple_tasks(lib)
    again = _works_at(lib, 2, max_retries=3, retry_delay=NOW)
    with lib.Flow("flow") as flow:
        again(t.fails())
        again(t.skips())
    return flow, {}


def retried_task_with_a_trigger(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        _works_at(lib, 2, max_retries=1, retry_delay=NOW, trigger=lib.triggers.any_failed)(t.fails())
    return flow, {}


def upstream_runs_once(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        one = t.one()
        t.same(one)
        t.add(_works_at(lib, 3, max_retries=2, retry_delay=NOW)(one), (7,))
    return flow, {}


def retries_by_task_args(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.finished(_works_at(lib, 2)(task_args={"max_retries": 1, "retry_delay": NOW}))
    return flow, {}


def max_retries_without_delay(lib):
    with lib.Flow("flow") as flow:
        _works_at(lib, 2, max_retries=2)()
    return flow, {}


def delay_without_max_retries(lib):
    with lib.Flow("flow") as flow:
        _works_at(lib, 2, retry_delay=NOW)()
    return flow, {}


def retry_on_without_max_retries(lib):
    with lib.Flow("flow") as flow:
        _works_at(lib, 2, retry_on=ValueError)()
    return flow, {}


def retry_on_what_is_no_exception(lib):
    with lib.Flow("flow") as flow:
        _works_at(lib, 2, max_retries=1, retry_delay=NOW, retry_on=5)()
    return flow, {}


def items_of_two_maps_fail_once(lib):
    @lib.task(max_retries=1, retry_delay=SOON)
    def first(x):
        if x == 0 and lib.context.task_run_count == 1:
            raise ValueError(x)
        return x

    @lib.task(max_retries=1, retry_delay=NOW)
    def second(x):
        if lib.context.task_run_count == 1:
            raise ValueError(x)
        return (x, lib.context.task_run_count)

    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same(second.map(first.map([0, 1])))
    return flow, {}


def items_that_ask_to_be_tried_again(lib):
    @lib.task
    def third_time(x):
        if lib.context.task_run_count < 3:
            raise lib.signals.RETRY("again")
        return (x, lib.context.task_run_count)

    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same(third_time.map([1, 2]))
        t.same(third_time(3))
    return flow, {}


def timed_out(lib):
    @lib.task(timeout=1)
    def slow():
        time.sleep(3)

    @lib.task(timeout=5)
    def quick():
        return 1

    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same(slow())
        t.same(quick())
    return flow, {}


def timed_out_children(lib):
    @lib.task(timeout=timedelta(seconds=1))
    def slow(x):
        time.sleep(x)
        return x

    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same.map(slow.map([0, 3]))
    return flow, {}


def timeout_and_retry(lib):
    @lib.task(timeout=1, max_retries=1, retry_delay=NOW)
    def slow_at_first():
        if lib.context.task_run_count == 1:
            time.sleep(3)
        return lib.context.task_run_count

    with lib.Flow("flow") as flow:
        slow_at_first()
    return flow, {}


def error_within_the_timeout(lib):
    @lib.task(timeout=5)
    def fails():
        raise ValueError("bad")

    @lib.task(timeout=5)
    def skips():
        raise lib.signals.SKIP("not now")

    with lib.Flow("flow") as flow:
        fails()
        skips()
    return flow, {}


def timeout_of_a_fraction(lib):
    with lib.Flow("flow") as flow:
        _works_at(lib, 1, timeout=0.5)()
    return flow, {}
