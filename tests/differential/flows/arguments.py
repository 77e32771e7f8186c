"""Constants, collections of tasks, operators and indexing."""

from simple_tasks import simple_tasks


def constants(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        for value in (1, "text", None, [1, 2], (1, 2), {"a": 1}, {1, 2}, 1.5):
            t.same(value)
    return flow, {}


def list_of_tasks(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same([t.one(), 2, t.same(3)])
    return flow, {}


def tuple_set_and_dict_of_tasks(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same((t.one(), 2))
        t.same({t.one(), 2})
        t.same({"a": t.one(), "b": 2})
    return flow, {}


def nested_collections(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        one = t.one()
        t.same([one, (2, {"k": one, "l": [one, {3}]})])
    return flow, {}


def collections_with_failed_and_skipped_tasks(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same([t.fails(), t.one()])
        t.finished([t.fails(), t.one()])
        t.finished({"a": t.fails()})
        t.survives([t.skips(), t.one()])
        t.finished([t.skips(), t.one()])
    return flow, {}


def more_than_ten_in_a_list(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same([t.same(i) for i in range(12)])
    return flow, {}


def keyword_dictionary_argument(lib):
    t = simple_tasks(lib)

    @lib.task
    def sorted_items(**items):
        return sorted(items.items())

    with lib.Flow("flow") as flow:
        sorted_items(b=2, a=t.one())
    return flow, {}


def arithmetic(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        x = t.same(7)
        for made in (x + 2, x - 2, x * 2, x / 2, x // 2, x % 4, x**2):
            t.same(made)
        for made in (2 + x, 20 - x, 2 * x, 14 / x, 15 // x, 15 % x, 2**x):
            t.same(made)
    return flow, {}


def arithmetic_of_two_tasks(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        x, y = t.same(7), t.one()
        for made in (x + y, x - y, x * y, x / y, x // y, x % y, x**y):
            t.same(made)
    return flow, {}


def comparisons(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        x = t.same(7)
        for made in (x < 8, x <= 7, x > 8, x >= 7, 6 < x, 8 <= x, 6 > x, 7 >= x, x > t.one()):  # noqa: SIM300
            t.same(made)
    return flow, {}


def named_comparisons(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        one = t.one()
        for other in (1, 2):
            t.same(one.is_equal(other))
            t.same(one.is_not_equal(other))
    return flow, {}


def equality_is_identity(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        x = t.same(7)
        lib.note("equal", x == 7, x == x, x != 7, len(flow.tasks))  # noqa: PLR0124
    return flow, {}


def logic(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        x = t.same(7)
        for made in (x & 0, x & 3, 0 & x, 3 & x):
            t.same(made)
    return flow, {}


def failing_operator(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same(t.one() + "text")
        t.finished(t.one() / 0)
    return flow, {}


def indexing(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        numbers = t.numbers()
        t.same(numbers[2])
        t.same(numbers[t.one()])
        t.same(t.same({"k": [5]})["k"][0])
        t.finished(numbers[9])
    return flow, {}


def operators_of_failed_and_skipped_tasks(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.finished(t.fails() + 1)
        t.survives(t.skips()[0])
    return flow, {}


def nout(lib):
    @lib.task(nout=2)
    def pair():
        return 1, 2

    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        a, b = pair()
        t.add(a, b)
    return flow, {}


def nout_from_annotation(lib):
    @lib.task
    def pair() -> tuple[int, str]:
        return 1, "a"

    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        number, text = pair()
        t.same([text, number])
    return flow, {}


def nout_longer_than_the_result(lib):
    @lib.task(nout=3)
    def pair():
        return 1, 2

    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        a, _, c = pair()
        t.same(a)
        t.same(c)
    return flow, {}


def exception_as_a_value(lib):
    t = simple_tasks(lib)

    @lib.task
    def gives_error():
        return ValueError("a value")

    with lib.Flow("flow") as flow:
        t.same(gives_error())
    return flow, {}


def none_as_a_value(lib):
    @lib.task
    def nothing():
        return None

    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same(nothing())
        t.same(nothing)
    return flow, {}


def same_task_for_two_arguments(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        one = t.one()
        t.add(one, one, upstream_tasks=[one])
    return flow, {}
