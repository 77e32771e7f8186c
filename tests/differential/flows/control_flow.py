"""case, switch, ifelse and merge."""

from simple_tasks import simple_tasks


def case_of_a_boolean(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        condition = t.same(x=True)
        with lib.case(condition, True):
            yes = t.same("yes")
        with lib.case(condition, False):
            no = t.same("no")
        t.same(lib.control_flow.merge(yes, no))
    return flow, {}


def case_of_a_value(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        condition = lib.Parameter("which", default="a")
        branches = []
        for value in "abc":
            with lib.case(condition, value):
                branches.append(t.same(f"branch {value}"))
        lib.control_flow.merge(*branches)
    return flow, {"which": "b"}


def case_with_several_tasks(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        outside = t.one()
        for value in (1, 2):
            with lib.case(outside, value):
                first = t.same(value)
                t.add(first, outside)
                t.one()
    return flow, {}


def case_with_outside_dependencies(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        failed = t.fails()
        with lib.case(t.one(), 1):
            t.same(failed)
            t.finished(failed)
    return flow, {}


def nested_case(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        outer, inner = t.same(1), t.same(2)
        with lib.case(outer, 1):
            t.same("outer matches")
            with lib.case(inner, 2):
                t.same("both match")
            with lib.case(inner, 3):
                t.same("inner differs")
        with lib.case(outer, 2), lib.case(inner, 2):
            t.same("outer differs")
    return flow, {}


def case_on_a_failed_and_a_skipped_condition(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        with lib.case(t.fails(), 1):
            first = t.same("failed")
        with lib.case(t.skips(), 1):
            second = t.same("skipped")
        lib.control_flow.merge(first, second)
        t.survives(second)
    return flow, {}


def case_in_which_a_task_fails(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        condition = t.one()
        with lib.case(condition, 1):
            first = t.same(t.fails())
        with lib.case(condition, 2):
            second = t.fails()
        lib.control_flow.merge(first, second)
    return flow, {}


def case_of_operators(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        number = lib.Parameter("n", default=3)
        with lib.case(number > 2, True):
            big = t.same("big")
        with lib.case(number > 2, False):
            small = t.same("small")
        lib.control_flow.merge(big, small)
    return flow, {"n": 1}


def case_around_a_map(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        condition = t.one()
        with lib.case(condition, 1):
            taken = t.same.map([1, 2])
        with lib.case(condition, 2):
            left = t.same.map(t.numbers())
        t.survives(lib.control_flow.merge(taken, left))
        t.survives(left)
    return flow, {}


def case_on_a_mapped_task(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        with lib.case(t.same.map([1, 2]), 1):
            t.same("an element")
        with lib.case(t.same.map([1, 2]), [1, 2]):
            t.same("the list")
    return flow, {}


def case_without_tasks(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        with lib.case(t.one(), 1):
            pass
        with lib.case(t.one(), 1):
            lib.Parameter("p", default=3)()
    return flow, {}


def case_with_a_task_as_value(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow, lib.case(t.one(), t.one()):
        t.same(1)
    return flow, {}


def case_of_an_instance_by_bind(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow, lib.case(t.one(), 2):
        t.add.bind(1, 2)
        t.empty.set_upstream(t.numbers)
    return flow, {}


def ifelse(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        for condition in ("text", ""):
            yes, no = t.same("yes"), t.same("no")
            lib.control_flow.ifelse(t.same(condition), yes, no)
            lib.control_flow.merge(yes, no)
    return flow, {}


def ifelse_without_else(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        lib.control_flow.ifelse(t.same(x=False), t.same("yes"), None)
        lib.control_flow.ifelse(t.same(x=False), None, t.same("no"))
    return flow, {}


def switch(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        branches = {key: t.same(key.upper()) for key in "abc"}
        lib.control_flow.switch(t.same("b"), branches)
        lib.control_flow.merge(*branches.values())
    return flow, {}


def switch_that_matches_nothing(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        branches = {key: t.same(key) for key in "ab"}
        lib.control_flow.switch(t.same("z"), branches)
        t.same(lib.control_flow.merge(*branches.values()))
    return flow, {}


def nested_ifelse(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        inner_yes, inner_no = t.same("inner yes"), t.same("inner no")
        inner = t.same(x=False)
        lib.control_flow.ifelse(inner, inner_yes, inner_no)
        merged = lib.control_flow.merge(inner_yes, inner_no)
        other = t.same("other")
        lib.control_flow.ifelse(t.same(x=True), inner, other)
        lib.control_flow.merge(merged, other)
    return flow, {}


def mapped_switch(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        even = t.same.map([1, 1, 2], task_args={"name": "remainder"})
        branches = {1: t.same.map(["a", "b", "c"]), 2: t.same.map(["d", "e", "f"])}
        lib.control_flow.switch(even, branches, mapped=True)
        merged = lib.control_flow.merge(*branches.values(), mapped=True)
        t.same(merged, task_args={"name": "reduce"})
    return flow, {}


def mapped_ifelse(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        yes, no = t.same.map(["a", "b"]), t.same.map(["c", "d"])
        lib.control_flow.ifelse(t.numbers(), yes, no, mapped=True)
        lib.control_flow.merge(yes, no, mapped=True)
    return flow, {}


def merge_takes_the_first_result(lib):
    t = simple_tasks(lib)
    merge = lib.control_flow.merge
    with lib.Flow("flow") as flow:
        merge(t.same(None), t.same(0), t.same(1))
        merge(t.same(None), t.same(None))
        merge(t.same(t.skips()), t.one())
        merge(t.skips(), t.one())
        merge(t.one(), t.fails())
    return flow, {}


def merge_of_skipped_tasks(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        merged = lib.control_flow.merge(t.skips(), t.same(t.skips()))
        t.survives(merged)
        lib.control_flow.merge(merged, t.one())
    return flow, {}


def merge_of_more_than_nine(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        lib.control_flow.merge(*[t.same(None) for _ in range(8)], *[t.same(i) for i in range(8, 12)])
        lib.control_flow.merge(t.same(None), *[t.same(i) for i in range(1, 12)])
    return flow, {}


def merge_with_options(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        lib.control_flow.merge(t.fails(), t.one(), name="merged", trigger=lib.triggers.any_successful)
    return flow, {}


def merge_of_lists(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        condition = t.one()
        with lib.case(condition, 2):
            first = [t.same(1), t.same(2)]
        with lib.case(condition, 1):
            second = [t.same(3), t.same(4)]
        lib.control_flow.merge(first, second)
    return flow, {}


def list_of_tasks_as_a_branch(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        lib.control_flow.ifelse(t.same(x=True), [t.same("a"), t.same("b")], t.same("no"))
    return flow, {}
