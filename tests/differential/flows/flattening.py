"""flatten."""

from simple_tasks import simple_tasks


def _upto(lib):
    @lib.task
    def run(n):
        if n == 2:
            raise ValueError("two")
        if n == 4:
            raise lib.signals.SKIP("four")
        return n if n == 5 else list(range(n))

    run.name = "upto"
    return run


def map_over_a_nested_result(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same.map(lib.flatten(t.same([[1, 2], [], [3]])))
    return flow, {}


def map_over_a_nested_constant(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same.map(lib.flatten([[1, 2], [3]]))
        t.same.map(lib.flatten([[[1], [2]], [[3]]]))
    return flow, {}


def map_over_a_map(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same.map(lib.flatten(_upto(lib).map([1, 0, 3])))
    return flow, {}


def reduce_of_a_map(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same(lib.flatten(_upto(lib).map([1, 0, 3])))
    return flow, {}


def argument_of_a_plain_task(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same(lib.flatten(t.same([[1], [2, 3]])))
        t.same(lib.flatten([[1], [2, 3]]))
    return flow, {}


def what_is_not_nested(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same(lib.flatten(t.same([1, 2])))
        t.same.map(lib.flatten(t.same([1, 2])))
        t.same(lib.flatten(t.same(5)))
    return flow, {}


def failed_child(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        nested = _upto(lib).map([1, 2, 3])
        t.same.map(lib.flatten(nested))
        t.finished.map(lib.flatten(nested))
        t.same(lib.flatten(nested), task_args={"name": "reduce"})
        t.finished(lib.flatten(nested), task_args={"name": "finished reduce"})
    return flow, {}


def skipped_child(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        nested = _upto(lib).map([1, 4, 3])
        t.same.map(lib.flatten(nested))
        t.survives.map(lib.flatten(nested))
        t.same(lib.flatten(nested), task_args={"name": "reduce"})
        t.survives(lib.flatten(nested), task_args={"name": "surviving reduce"})
    return flow, {}


def child_that_is_not_a_list(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        nested = _upto(lib).map([1, 5, 3])
        t.same.map(lib.flatten(nested))
        t.same(lib.flatten(nested), task_args={"name": "reduce"})
    return flow, {}


def failed_upstream(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same.map(lib.flatten(t.fails()))
        t.same(lib.flatten(t.fails()))
        t.finished(lib.flatten(t.fails()))
    return flow, {}


def skipped_upstream(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same.map(lib.flatten(t.skips()))
        t.survives(lib.flatten(t.skips()))
    return flow, {}


def empty(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same.map(lib.flatten(t.empty()))
        t.same(lib.flatten(t.same.map(t.empty())))
        t.same.map(lib.flatten(t.same.map([[], []])))
    return flow, {}


def with_other_mapped_arguments(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.add.map(lib.flatten(_upto(lib).map([1, 3])), lib.unmapped(10))
        t.add.map(lib.flatten([[1], [2, 3]]), [10, 20])
    return flow, {}


def twice(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        first = t.same.map(lib.flatten([[[1, 2]], [[3], [4, 5]]]))
        t.same.map(lib.flatten(first))
    return flow, {}


def unmapped_flatten(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.add.map([[0], [9]], lib.unmapped(lib.flatten(t.same([[1], [2]]))))
    return flow, {}


def tuples_and_texts(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same.map(lib.flatten(t.same(((1, 2), (3,)))))
        t.same.map(lib.flatten(t.same.map(["ab", "c"])))
    return flow, {}
