"""Each trigger on plain, mapped and reduced tasks, with failed and skipped upstreams."""

from simple_tasks import simple_tasks, triggered


def _plain(lib, trigger, **options):
    """Run a task with this trigger on each pair of a good, a failed and a skipped upstream."""
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        for first in (t.one, t.fails, t.skips):
            for second in (t.one, t.fails, t.skips):
                triggered(lib, trigger, f"{first.name} {second.name}", **options)(first(), second())
    return flow, {}


def _mapped(lib, trigger, **options):
    """Run a task with this trigger as map and as reduce, on children of which some fail or are skipped."""
    t = simple_tasks(lib)
    task = triggered(lib, trigger, **options)
    with lib.Flow("flow") as flow:
        for children in (t.same.map([1, 2]), t.inverse.map([1, 0]), t.inverse.map([0, 0]), t.skips_zero.map([1, 0])):
            task.map(children, task_args={"name": "mapped"})
            task(children, task_args={"name": "reduced"})
    return flow, {}


def all_successful(lib):
    return _plain(lib, lib.triggers.all_successful)


def all_successful_without_skip(lib):
    return _plain(lib, lib.triggers.all_successful, skip_on_upstream_skip=False)


def all_successful_mapped(lib):
    return _mapped(lib, lib.triggers.all_successful)


def all_failed(lib):
    return _plain(lib, lib.triggers.all_failed)


def all_failed_without_skip(lib):
    return _plain(lib, lib.triggers.all_failed, skip_on_upstream_skip=False)


def all_failed_mapped(lib):
    return _mapped(lib, lib.triggers.all_failed)


def any_successful(lib):
    return _plain(lib, lib.triggers.any_successful)


def any_successful_without_skip(lib):
    return _plain(lib, lib.triggers.any_successful, skip_on_upstream_skip=False)


def any_successful_mapped(lib):
    return _mapped(lib, lib.triggers.any_successful)


def any_failed(lib):
    return _plain(lib, lib.triggers.any_failed)


def any_failed_without_skip(lib):
    return _plain(lib, lib.triggers.any_failed, skip_on_upstream_skip=False)


def any_failed_mapped(lib):
    return _mapped(lib, lib.triggers.any_failed)


def all_finished(lib):
    return _plain(lib, lib.triggers.all_finished)


def all_finished_without_skip(lib):
    return _plain(lib, lib.triggers.all_finished, skip_on_upstream_skip=False)


def all_finished_mapped(lib):
    return _mapped(lib, lib.triggers.all_finished, skip_on_upstream_skip=False)


def always_run_without_skip(lib):
    return _plain(lib, lib.triggers.always_run, skip_on_upstream_skip=False)


def not_all_skipped(lib):
    return _plain(lib, lib.triggers.not_all_skipped)


def not_all_skipped_without_skip(lib):
    return _plain(lib, lib.triggers.not_all_skipped, skip_on_upstream_skip=False)


def not_all_skipped_mapped(lib):
    return _mapped(lib, lib.triggers.not_all_skipped, skip_on_upstream_skip=False)


def some_failed_at_least(lib):
    return _plain(lib, lib.triggers.some_failed(at_least=1), skip_on_upstream_skip=False)


def some_failed_at_most_a_fraction(lib):
    return _plain(lib, lib.triggers.some_failed(at_most=0.5))


def some_failed_mapped(lib):
    return _mapped(lib, lib.triggers.some_failed(at_least=0.5, at_most=1))


def some_successful_at_least(lib):
    return _plain(lib, lib.triggers.some_successful(at_least=2), skip_on_upstream_skip=False)


def some_successful_at_most_a_fraction(lib):
    return _plain(lib, lib.triggers.some_successful(at_most=0.4))


def some_successful_mapped(lib):
    return _mapped(lib, lib.triggers.some_successful(at_least=0.6))


def some_without_bounds(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        triggered(lib, lib.triggers.some_failed())(t.fails(), t.one())
        triggered(lib, lib.triggers.some_successful())(t.fails(), t.one())
    return flow, {}


def some_of_one_is_a_number(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        triggered(lib, lib.triggers.some_failed(at_least=1.0))(t.fails(), t.one())
        triggered(lib, lib.triggers.some_successful(at_most=0))(t.fails(), t.one())
    return flow, {}


def callable_with_states(lib):
    def named_failed(states):
        lib.note("states", sorted([edge.upstream_task.name, edge.key, type(s).__name__] for edge, s in states.items()))
        return any(state.is_failed() for state in states.values())

    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        triggered(lib, named_failed)(t.fails(), t.one(), upstream_tasks=[t.numbers()])
    return flow, {}


def callable_with_constants(lib):
    def named(states):
        edges = sorted((edge.key, edge.upstream_task.name, edge.downstream_task.name, edge.mapped) for edge in states)
        lib.note(edges[0][2], edges)
        return True

    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        triggered(lib, named)(5, "a longer text")
        triggered(lib, named, "second")(t.one(), lib.unmapped(None))
        triggered(lib, named, "mapped").map(t.numbers(), lib.unmapped([1, 2, 3, 4]))
    return flow, {}


def callable_gives_false(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.finished(triggered(lib, lambda _: False)(t.one()))
    return flow, {}


def callable_raises(lib):
    def broken(states):
        raise KeyError("no such state")

    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.finished(triggered(lib, broken)(t.one()))
    return flow, {}


def callable_raises_signals(lib):
    def skip(states):
        raise lib.signals.SKIP("by trigger")

    def fail(states):
        raise lib.signals.FAIL("by trigger", result=5)

    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same(triggered(lib, skip, "skips by trigger")(t.one()))
        t.finished(triggered(lib, fail, "fails by trigger")(t.one()))
    return flow, {}


def callable_sees_mapped_states(lib):
    def one_failed(states):
        (state,) = states.values()
        children = state.map_states if state.is_mapped() else [state]
        return sum(child.is_failed() for child in children) == 1

    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        children = t.inverse.map([1, 0])
        triggered(lib, one_failed, "reduced")(children)
        triggered(lib, one_failed, "mapped").map(children)
    return flow, {}


def constants_count_as_successful(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        for name in ("all_failed", "any_successful"):
            triggered(lib, getattr(lib.triggers, name), name)(t.fails(), 5)
        triggered(lib, lib.triggers.some_failed(at_least=0.6), "fraction")(t.fails(), 5)
        triggered(lib, lib.triggers.not_all_skipped, "skipped", skip_on_upstream_skip=False)(t.skips(), 5)
    return flow, {}


def one_upstream_counts_once(lib):
    t = simple_tasks(lib)
    twice = lib.triggers.some_failed(at_least=2)
    with lib.Flow("flow") as flow:
        failed = t.fails()
        triggered(lib, twice, "once")(failed, failed, upstream_tasks=[failed])
        triggered(lib, twice, "twice")(failed, t.fails())
    return flow, {}


def no_upstream(lib):
    some = lib.triggers.some_failed(at_least=1)
    with lib.Flow("flow") as flow:
        for name in ("all_successful", "all_failed", "any_successful", "any_failed", "all_finished", "not_all_skipped"):
            triggered(lib, getattr(lib.triggers, name), name)()
        triggered(lib, some, "some_failed")()
    return flow, {}


def reduce_of_an_empty_map(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        nothing = t.same.map(t.empty())
        for name in ("all_successful", "all_failed", "any_successful", "any_failed", "all_finished", "not_all_skipped"):
            triggered(lib, getattr(lib.triggers, name), name)(nothing)
        triggered(lib, lib.triggers.some_failed(at_least=1), "some_failed")(nothing)
    return flow, {}


def trigger_failures_spread(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        last = t.same(t.same(t.fails()), task_args={"name": "second"})
        triggered(lib, lib.triggers.all_failed, "caught")(last)
    return flow, {}


def skips_spread_and_come_before_triggers(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        skipped = t.same(t.skips())
        t.same(skipped, task_args={"name": "second"})
        triggered(lib, lib.triggers.all_failed, "all failed")(skipped, t.fails())
        t.finished(skipped, upstream_tasks=[t.fails()])
        t.survives(skipped)
    return flow, {}


def trigger_of_a_mapped_task_is_of_its_children(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        failed = t.fails()
        triggered(lib, lib.triggers.any_failed).map([1, 2], upstream_tasks=[lib.unmapped(failed)])
        triggered(lib, lib.triggers.all_failed, "all failed").map([1, 2], upstream_tasks=[lib.unmapped(failed)])
        triggered(lib, lib.triggers.any_failed, "over failed").map(failed)
    return flow, {}
