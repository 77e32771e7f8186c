"""The state of a flow, reference tasks, and what is refused."""

from simple_tasks import simple_tasks


def failed_task_that_is_not_terminal(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.finished(t.fails())
    return flow, {}


def only_skipped_tasks(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same(t.skips())
    return flow, {}


def one_of_several_terminal_tasks_failed(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.one()
        t.fails()
    return flow, {}


def reference_task_succeeds(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        reference = t.one()
        t.fails(upstream_tasks=[reference])
    flow.set_reference_tasks([reference])
    return flow, {}


def reference_task_fails(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        failed = t.fails()
        t.finished(failed)
    flow.set_reference_tasks([failed])
    return flow, {}


def mapped_reference_task(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        children = t.inverse.map([1, 0])
        t.finished(children)
    flow.set_reference_tasks([children])
    return flow, {}


def reference_task_of_another_flow(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.one()
    flow.set_reference_tasks([t.numbers])
    return flow, {}


def cleanup_with_reference_tasks(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        start = t.one()
        work = t.add(start, "text")
        t.finished(work, task_args={"name": "cleanup"})
    flow.set_reference_tasks([work])
    return flow, {}


def error_kinds(lib):
    class OwnError(Exception):
        def __init__(self, code, text):
            super().__init__(code, text)
            self.code = code

    @lib.task
    def raises(kind):
        if kind == "own":
            raise OwnError(3, "text")
        if kind == "key":
            return {}["absent"]
        if kind == "assert":
            raise AssertionError
        raise OSError(2, "no such thing")

    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.finished(raises.map(["own", "key", "assert", "os"]))
    return flow, {}


def missing_argument_at_the_call(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.add(1)
    return flow, {}


def unknown_argument_at_the_call(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.add(1, 2, z=3)
    return flow, {}


def missing_argument_of_an_imperative_task(lib):
    t = simple_tasks(lib)
    flow = lib.Flow("flow")
    flow.add_task(t.same)
    return flow, {}


def unknown_argument_of_an_imperative_task(lib):
    t = simple_tasks(lib)
    flow = lib.Flow("flow")
    t.one.set_upstream(t.numbers, flow=flow, key="absent")
    return flow, {}


def argument_set_twice(lib):
    t = simple_tasks(lib)
    flow = lib.Flow("flow")
    flow.add_edge(t.one, t.same, key="x")
    flow.add_edge(t.numbers, t.same, key="x", validate=True)
    return flow, {}


def cycle_is_found_by_validate(lib):
    t = simple_tasks(lib)
    flow = lib.Flow("flow")
    flow.add_edge(t.one, t.numbers)
    flow.add_edge(t.numbers, t.one)
    flow.validate()
    return flow, {}


def cycle_is_found_when_it_is_made(lib):
    t = simple_tasks(lib)
    flow = lib.Flow("flow")
    flow.add_edge(t.one, t.numbers)
    flow.add_edge(t.numbers, t.one, validate=True)
    return flow, {}


def cycle_is_found_by_run(lib):
    t = simple_tasks(lib)
    flow = lib.Flow("flow")
    flow.add_edge(t.one, t.numbers)
    flow.add_edge(t.numbers, t.one)
    return flow, {}


def task_upstream_of_itself(lib):
    t = simple_tasks(lib)
    flow = lib.Flow("flow", tasks=[t.one])
    t.one.set_upstream(t.one, flow=flow)
    return flow, {}


def task_outside_of_a_flow(lib):
    t = simple_tasks(lib)
    t.same(1)
    return lib.Flow("flow", tasks=[t.one]), {}


def upstream_outside_of_a_flow(lib):
    t = simple_tasks(lib)
    t.same.set_upstream(t.one)
    return lib.Flow("flow", tasks=[t.one]), {}


def unpacking_without_nout(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        a, b = t.numbers()
        t.add(a, b)
    return flow, {}


def variable_positional_arguments(lib):
    @lib.task
    def total(*numbers):
        return sum(numbers)

    return lib.Flow("flow", tasks=[total]), {}


def reserved_argument_name(lib):
    @lib.task
    def wrong(upstream_tasks=None):
        return upstream_tasks

    return lib.Flow("flow", tasks=[wrong]), {}


def task_args_that_are_no_attributes(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.one(task_args={"absent": 1})
    return flow, {}


def tags_as_a_text(lib):
    return lib.Flow("flow", tasks=[lib.Task(name="tagged", tags="text")]), {}


def flow_without_a_name(lib):
    t = simple_tasks(lib)
    return lib.Flow("", tasks=[t.one]), {}


def what_is_not_a_task(lib):
    flow = lib.Flow("flow")
    flow.add_task(5)
    return flow, {}


def run_within_the_flow(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.one()
        flow.run()
    return flow, {}


def states_of_the_result(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        one, failed, skipped = t.one(), t.fails(), t.skips()
        mapped = t.same.map([1])
    state = flow.run()
    for task in (one, failed, skipped, mapped):
        found = state.result[task]
        checks = ("successful", "failed", "skipped", "mapped", "finished")
        lib.note(task.name, *[getattr(found, f"is_{check}")() for check in checks], repr(found))
    lib.note("flow", state.is_successful(), state.is_failed(), state.is_finished(), repr(state))
    return flow, {}


def states_of_mapped_children(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        mapped = t.inverse.map([1, 0])
    found = flow.run().result[mapped]
    lib.note("children", [child.is_failed() for child in found.map_states], len(found.map_states))
    return flow, {}
