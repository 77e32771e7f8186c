"""Tasks that most cases use."""

from types import SimpleNamespace


def simple_tasks(lib):  # noqa: C901 - each function is a task
    """Return new tasks of this library, as attributes."""

    @lib.task
    def one():
        return 1

    @lib.task
    def numbers():
        return [1, 0, 2]

    @lib.task
    def empty():
        return []

    @lib.task
    def same(x):
        return x

    @lib.task
    def add(x, y):
        return x + y

    @lib.task
    def inverse(x):
        return 1 / x

    @lib.task
    def fails():
        raise ValueError("bad")

    @lib.task
    def skips():
        raise lib.signals.SKIP("not now")

    @lib.task
    def skips_zero(x):
        if x == 0:
            raise lib.signals.SKIP("zero")
        return x

    @lib.task(trigger=lib.triggers.all_finished)
    def finished(x=None):
        return ("got", x)

    @lib.task(trigger=lib.triggers.all_finished, skip_on_upstream_skip=False)
    def survives(x=None):
        return ("got", x)

    return SimpleNamespace(**{name: task for name, task in locals().items() if name != "lib"})


def triggered(lib, trigger, name="triggered", **options):
    """Return a task `name(x=None, y=None)` with this trigger, that gives its arguments."""

    @lib.task(name=name, trigger=trigger, **options)
    def run(x=None, y=None):
        return (x, y)

    return run
