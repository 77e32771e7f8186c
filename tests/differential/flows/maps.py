"""map, unmapped, mapped, and reduce."""

from simple_tasks import simple_tasks


def over_a_result(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same.map(t.numbers())
    return flow, {}


def over_constants(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        for values in ([1, 2], (1, 2), range(2), "ab"):
            t.same.map(values)
    return flow, {}


def over_a_list_of_tasks(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same.map([t.one(), 5])
    return flow, {}


def with_unmapped(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.add.map(t.numbers(), lib.unmapped(10))
        t.add.map(x=[1, 2], y=lib.unmapped(t.one()))
    return flow, {}


def unmapped_list(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.add.map([[1], [2]], y=lib.unmapped([9]))
        t.add.map([[1], [2]], y=lib.unmapped(t.numbers))
    return flow, {}


def mapped_argument_of_a_call(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.add(lib.mapped(t.numbers()), 5)
        t.add(lib.mapped(t.numbers()), lib.mapped([1, 2]))
    return flow, {}


def zip_to_the_shortest(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.add.map([1, 2, 3], [10, 20])
        t.add.map(t.numbers(), t.empty())
        t.add.map(t.same.map([1, 2]), t.same.map([1, 2, 3]))
    return flow, {}


def over_empty(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        first = t.same.map(t.empty())
        t.same.map(first)
        t.same(first, task_args={"name": "reduce"})
    return flow, {}


def map_of_a_map(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.add.map(t.add.map(t.add.map(t.numbers(), lib.unmapped(1)), lib.unmapped(1)), [0, 1, 2])
    return flow, {}


def reduce(lib):
    t = simple_tasks(lib)

    @lib.task
    def total(xs):
        return sum(xs)

    with lib.Flow("flow") as flow:
        total(t.same.map(t.numbers()))
    return flow, {}


def reduce_without_data(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.one(upstream_tasks=[t.same.map(t.numbers())])
        t.one(upstream_tasks=[t.inverse.map(t.numbers())])
    return flow, {}


def map_reduce_map(lib):
    t = simple_tasks(lib)

    @lib.task
    def doubled(xs):
        return [2 * x for x in xs]

    with lib.Flow("flow") as flow:
        t.same.map(doubled(t.same.map([1, 2, 3])))
    return flow, {}


def map_within_a_map(lib):
    t = simple_tasks(lib)

    @lib.task
    def upto(n):
        return list(range(n))

    @lib.task
    def total(xs):
        return sum(xs)

    with lib.Flow("flow") as flow:
        total.map(upto.map([1, 3, 5]))
        t.same.map([t.same.map([1, 2]), t.same.map([3])])
    return flow, {}


def failed_child(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        inverses = t.inverse.map(t.numbers())
        t.same.map(inverses)
        t.finished.map(inverses)
        t.same(inverses, task_args={"name": "reduce"})
        t.finished(inverses, task_args={"name": "finished reduce"})
    return flow, {}


def all_children_failed(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.finished(t.same.map(t.inverse.map([0, 0])))
    return flow, {}


def skipped_child(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        some = t.skips_zero.map(t.numbers())
        t.same.map(some)
        t.survives.map(some)
        t.same(some, task_args={"name": "reduce"})
        t.finished(some, task_args={"name": "finished reduce"})
        t.survives(some, task_args={"name": "surviving reduce"})
    return flow, {}


def over_a_failed_task(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        first = t.same.map(t.fails())
        t.same.map(first)
        t.finished.map(t.fails(), task_args={"name": "finished map"})
        t.finished(first)
        t.same(first, task_args={"name": "reduce"})
    return flow, {}


def over_a_skipped_task(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        first = t.same.map(t.skips())
        t.same.map(first)
        t.survives(first)
        t.survives.map(t.skips(), task_args={"name": "surviving map"})
    return flow, {}


def over_what_cannot_be_mapped(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        for value in (5, None, {1, 2}):
            t.finished(t.same.map(t.same(value)))
    return flow, {}


def over_a_dictionary(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same.map(t.same({"a": 1}))
    return flow, {}


def keyword_constant_without_unmapped(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.add.map(x=[1, 2], y=5)
    return flow, {}


def positional_constant_that_cannot_be_mapped(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same.map(5)
    return flow, {}


def failed_unmapped_argument(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.add.map([1, 2], lib.unmapped(t.fails()))
        t.finished.map(lib.mapped([1, 2]), upstream_tasks=[lib.unmapped(t.fails())])
    return flow, {}


def skipped_unmapped_argument(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.add.map([1, 2], lib.unmapped(t.skips()))
        t.survives.map([1, 2], upstream_tasks=[lib.unmapped(t.skips())])
    return flow, {}


def one_of_two_mapped_arguments_failed(lib):
    t = simple_tasks(lib)

    @lib.task(trigger=lib.triggers.all_finished)
    def pair(x, y):
        return (x, y)

    with lib.Flow("flow") as flow:
        t.add.map([1, 2], t.fails())
        pair.map([1, 2], t.fails())
        pair.map(t.skips(), [1, 2])
    return flow, {}


def children_fail_on_either_side(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.add.map(t.inverse.map([0, 1, 1]), t.inverse.map([1, 1, 0]))
    return flow, {}


def unmapped_map(lib):
    t = simple_tasks(lib)

    @lib.task(trigger=lib.triggers.all_finished)
    def pair(x, y):
        return (x, y)

    with lib.Flow("flow") as flow:
        t.add.map([[1], [2]], lib.unmapped(t.same.map(t.numbers())))
        t.add.map([[1], [2]], lib.unmapped(t.inverse.map(t.numbers())))
        pair.map(t.inverse.map([1, 0]), lib.unmapped(t.inverse.map(t.numbers())))
    return flow, {}


def upstream_tasks_are_mapped_too(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same.map([1, 2, 3], upstream_tasks=[t.same.map([1, 2])])
        t.same.map([1, 2], upstream_tasks=[t.inverse.map([1, 0])])
        t.same.map([1, 2], upstream_tasks=[t.fails()])
        t.finished.map(t.same([5, 6]), upstream_tasks=[t.inverse.map([1, 0])])
    return flow, {}


def scalar_upstream_task_of_a_map(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same.map([1, 2], upstream_tasks=[t.one()])
    return flow, {}


def unmapped_upstream_tasks(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same.map([1, 2], upstream_tasks=[lib.unmapped(t.one())])
        t.same.map([1, 2], upstream_tasks=[lib.unmapped(t.fails())])
        t.same.map([1, 2], upstream_tasks=[lib.unmapped(t.inverse.map([1, 0]))])
    return flow, {}


def no_argument_but_upstream_tasks(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.one.map(upstream_tasks=[t.numbers()])
    return flow, {}


def upstream_list_is_mapped_over(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        one, failed = t.one(), t.inverse(0)
        t.same.map([1, 2], upstream_tasks=[[one, one]])
        t.same.map([1, 2, 3], upstream_tasks=[[one, failed]], task_args={"name": "with a failure"})
        t.same.map([1, 2], upstream_tasks=[one], task_args={"name": "over the result"})
    return flow, {}


def mapped_task_args(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same.map(
            t.fails.map(upstream_tasks=[[1, 2]]), task_args={"name": "caught", "trigger": lib.triggers.all_failed}
        )
    return flow, {}


def index_and_operators_of_a_map(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        mapped = t.same.map([1, 2])
        t.same(mapped[1])
        t.same(mapped + [3])  # noqa: RUF005 - the operator is what is tested
        t.same(mapped + 1)
    return flow, {}


def map_in_a_list(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same([t.same.map([1, 2]), t.one()])
        t.finished([t.inverse.map([1, 0]), t.one()])
    return flow, {}


def subclass_map(lib):
    class Scale(lib.Task):
        def __init__(self, factor):
            self.factor = factor
            super().__init__(name="scale")

        def run(self, x):
            return self.factor * x

    with lib.Flow("flow") as flow:
        Scale(3).map([1, 2])
    return flow, {}


def many_children(lib):
    t = simple_tasks(lib)

    @lib.task
    def total(xs):
        return sum(xs)

    with lib.Flow("flow") as flow:
        total(t.add.map(range(40), lib.unmapped(1)))
    return flow, {}


def many_children_some_of_which_fail(lib):
    @lib.task
    def odd(x):
        if x % 7 == 3:
            raise KeyError(x)
        return x

    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.finished(t.same.map(odd.map(range(30))))
    return flow, {}
