"""Parameters."""

from simple_tasks import simple_tasks


def default(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.add(lib.Parameter("p", default=3), 1)
    return flow, {}


def default_of_none(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same(lib.Parameter("p", default=None))
    return flow, {}


def required_by_dictionary(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.add(lib.Parameter("p"), 1)
    return flow, {"parameters": {"p": 3}}


def required_by_keyword(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.add(lib.Parameter("p"), 1)
    return flow, {"p": 4}


def required_given_none(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same(lib.Parameter("p"))
    return flow, {"p": None}


def required_though_it_has_a_default(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same(lib.Parameter("p", default=3, required=True))
    return flow, {}


def keyword_wins_over_dictionary(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same(lib.Parameter("p"))
    return flow, {"parameters": {"p": 3}, "p": 4}


def falsy_values(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same([lib.Parameter("a", default=1), lib.Parameter("b", default=[1])])
    return flow, {"a": 0, "b": []}


def missing(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same(lib.Parameter("p"))
    return flow, {}


def unknown(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same(lib.Parameter("p", default=1))
    return flow, {"parameters": {"q": 1}}


def two_of_one_name(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same(lib.Parameter("p", default=1))
        t.same(lib.Parameter("p", default=2))
    return flow, {}


def one_used_twice(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        p = lib.Parameter("p", default=1)
        t.add(p, t.same(p))
    return flow, {}


def called_and_added(lib):
    flow = lib.Flow("flow")
    flow.add_task(lib.Parameter("added", default=1))
    with flow:
        lib.Parameter("called", default=2)()
    return flow, {"added": 5}


def operators(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        p = lib.Parameter("p", default={"n": [1, 2]})
        t.same(p["n"][1] + 1)
    return flow, {}


def mapped(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.inverse.map(lib.Parameter("xs", default=[1]))
    return flow, {"xs": [1, 2]}


def cannot_have_an_upstream(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        lib.Parameter("p", default=1).set_upstream(t.one)
    return flow, {}


def in_a_list_that_is_mapped_over(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same.map([lib.Parameter("a", default=1), lib.Parameter("b")])
    return flow, {"b": 2}
