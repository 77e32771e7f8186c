"""Signals that tasks raise, with messages and results."""

from simple_tasks import simple_tasks

NAMES = ("FAIL", "SUCCESS", "SKIP", "TRIGGERFAIL")


def _raises(lib, signal, *args, **kwargs):
    @lib.task(name=signal)
    def run():
        raise getattr(lib.signals, signal)(*args, **kwargs)

    return run


def with_a_message(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        for name in NAMES:
            t.survives(_raises(lib, name, "said so")())
    return flow, {}


def without_a_message(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        for name in NAMES:
            t.survives(_raises(lib, name)())
    return flow, {}


def with_a_result(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        for name in NAMES:
            t.survives(_raises(lib, name, "said so", result={"a": 1})())
    return flow, {}


def with_a_result_of_none(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        for name in NAMES:
            t.survives(_raises(lib, name, message="said so", result=None)())
    return flow, {}


def class_without_a_call(lib):
    @lib.task
    def skips():
        raise lib.signals.SKIP

    with lib.Flow("flow") as flow:
        skips()
    return flow, {}


def downstream_of_each(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        for name in NAMES:
            t.same(_raises(lib, name, "said so", result=7)())
    return flow, {}


def in_a_map(lib):
    @lib.task
    def signals(name):
        if name == "value":
            return name
        raise getattr(lib.signals, name)(f"by {name}", result=name)

    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        children = signals.map([*NAMES, "value"])
        t.same.map(children)
        t.survives(children)
    return flow, {}


def state_of_a_caught_signal(lib):
    @lib.task
    def catches():
        try:
            raise lib.signals.SKIP("not now", result=3)  # noqa: TRY301
        except lib.signals.SKIP as signal:
            return [type(signal.state).__name__, signal.state.message, signal.state.result, str(signal)]

    with lib.Flow("flow") as flow:
        catches()
    return flow, {}


def except_exception_catches_them(lib):
    @lib.task
    def catches():
        try:
            raise lib.signals.FAIL("not now")  # noqa: TRY301
        except Exception as error:
            return type(error).__name__

    with lib.Flow("flow") as flow:
        catches()
    return flow, {}


def raised_from_another_error(lib):
    @lib.task
    def wraps():
        try:
            return 1 / 0
        except ZeroDivisionError as error:
            raise lib.signals.FAIL("wrapped") from error

    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.finished(wraps())
    return flow, {}


def of_a_deeper_call(lib):
    def deeper():
        raise lib.signals.SKIP("deep")

    @lib.task
    def calls():
        return deeper()

    with lib.Flow("flow") as flow:
        calls()
    return flow, {}
