"""State handlers and on_failure, of tasks and flows."""

from datetime import timedelta

from simple_tasks import simple_tasks

NOW = timedelta(0)


def _notes(lib, key="changes"):
    def handler(thing, old, new):
        index = lib.context.get("map_index")
        where = key if index is None else f"{key} {index}"
        lib.note(where, thing.name, type(old).__name__, type(new).__name__, new.message)

    return handler


def _failure_notes(lib, key="failures"):
    def callback(thing, state):
        lib.note(key, thing.name, type(state).__name__, state.message)

    return callback


def success(lib):
    @lib.task(state_handlers=[_notes(lib)])
    def one():
        return 1

    with lib.Flow("flow") as flow:
        one()
    return flow, {}


def failure(lib):
    @lib.task(state_handlers=[_notes(lib)], on_failure=_failure_notes(lib))
    def fails():
        raise ValueError("bad")

    with lib.Flow("flow") as flow:
        fails()
    return flow, {}


def on_failure_of_a_success(lib):
    @lib.task(on_failure=_failure_notes(lib))
    def one():
        return 1

    with lib.Flow("flow", on_failure=_failure_notes(lib)) as flow:
        one()
    return flow, {}


def order_of_two_handlers(lib):
    @lib.task(state_handlers=[_notes(lib, "all"), _notes(lib, "all")])
    def one():
        return 1

    with lib.Flow("flow") as flow:
        one()
    return flow, {}


def trigger_failure_and_skip(lib):
    t = simple_tasks(lib)

    def watched(name):
        @lib.task(name=name, state_handlers=[_notes(lib, name)], on_failure=_failure_notes(lib))
        def run(x):
            return x

        return run

    with lib.Flow("flow") as flow:
        watched("after failure")(t.fails())
        watched("after skip")(t.skips())
    return flow, {}


def skip_signal(lib):
    @lib.task(state_handlers=[_notes(lib)])
    def skips():
        raise lib.signals.SKIP("not now")

    with lib.Flow("flow") as flow:
        skips()
    return flow, {}


def retries(lib):
    @lib.task(state_handlers=[_notes(lib)], on_failure=_failure_notes(lib), max_retries=1, retry_delay=NOW)
    def fails():
        raise ValueError("bad")

    with lib.Flow("flow") as flow:
        fails()
    return flow, {}


def retry_that_works(lib):
    @lib.task(state_handlers=[_notes(lib)], max_retries=1, retry_delay=NOW)
    def works_at_last():
        if lib.context.task_run_count == 1:
            raise ValueError("bad")
        return 1

    with lib.Flow("flow") as flow:
        works_at_last()
    return flow, {}


def retry_signal(lib):
    @lib.task(state_handlers=[_notes(lib)])
    def again():
        if lib.context.task_run_count == 1:
            raise lib.signals.RETRY("not yet")
        return 1

    with lib.Flow("flow") as flow:
        again()
    return flow, {}


def mapped(lib):
    @lib.task(state_handlers=[_notes(lib)])
    def inverse(x):
        return 1 / x

    with lib.Flow("flow") as flow:
        inverse.map([1, 0])
    return flow, {}


def mapped_over_a_failed_task(lib):
    t = simple_tasks(lib)

    @lib.task(state_handlers=[_notes(lib)], on_failure=_failure_notes(lib))
    def same(x):
        return x

    with lib.Flow("flow") as flow:
        same.map(t.fails())
    return flow, {}


def handler_replaces_a_state(lib):
    def fail_instead(task, old, new):
        return lib.state.Failed("changed by handler", result=9) if new.is_successful() else new

    def succeed_instead(task, old, new):
        return lib.state.Success("mended by handler", result=5) if new.is_failed() else None

    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.finished(t.one(task_args={"state_handlers": [fail_instead]}))
        t.same(t.fails(task_args={"state_handlers": [succeed_instead]}))
    return flow, {}


def handler_raises(lib):
    def broken(task, old, new):
        raise RuntimeError("broken handler")

    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.finished(t.one(task_args={"state_handlers": [broken]}))
    return flow, {}


def handler_raises_after_the_run(lib):
    def broken(task, old, new):
        if new.is_finished():
            raise RuntimeError("broken handler")

    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.finished(t.one(task_args={"state_handlers": [broken]}))
        t.finished(t.fails(task_args={"state_handlers": [broken]}))
    return flow, {}


def handler_raises_a_signal(lib):
    def skip_failures(task, old, new):
        if new.is_failed():
            raise lib.signals.SKIP("skipped by handler")

    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.survives(t.fails(task_args={"state_handlers": [skip_failures]}))
    return flow, {}


def handler_sees_the_result(lib):
    def note_result(task, old, new):
        if new.is_finished():
            lib.note("result", new.result)

    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.numbers(task_args={"state_handlers": [note_result]})
    return flow, {}


def of_a_subclass(lib):
    class Watched(lib.Task):
        def run(self):
            return 1

    with lib.Flow("flow") as flow:
        Watched(state_handlers=[_notes(lib)])()
    return flow, {}


def of_a_flow(lib):
    t = simple_tasks(lib)

    def note_end(flow, old, new):
        lib.note("flow", flow.name, type(new).__name__, new.message)

    flow = lib.Flow("flow", state_handlers=[note_end])
    flow.add_task(t.one)
    return flow, {}


def of_a_flow_that_fails(lib):
    t = simple_tasks(lib)

    def note_end(flow, old, new):
        lib.note("flow", type(old).__name__ == "Running", type(new).__name__)

    flow = lib.Flow("flow", state_handlers=[note_end], on_failure=_failure_notes(lib))
    flow.add_task(t.fails)
    return flow, {}


def flow_handler_replaces_the_state(lib):
    t = simple_tasks(lib)

    def mend(flow, old, new):
        return lib.state.Success("mended", result=new.result) if new.is_failed() else None

    flow = lib.Flow("flow", state_handlers=[mend])
    flow.add_task(t.fails)
    return flow, {}


def flow_handler_raises(lib):
    t = simple_tasks(lib)

    def broken(flow, old, new):
        raise RuntimeError("broken handler")

    flow = lib.Flow("flow", state_handlers=[broken])
    flow.add_task(t.one)
    return flow, {}


def timed_out(lib):
    import time

    @lib.task(timeout=1, on_failure=_failure_notes(lib))
    def slow():
        time.sleep(3)

    with lib.Flow("flow") as flow:
        slow()
    return flow, {}
