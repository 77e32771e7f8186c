import pytest
from dask_flow import Flow, Parameter, Task, task
from dask_flow.core import Edge
from dask_flow.errors import InputError


@task
def one():
    return 1


@task
def add(x, y=0):
    return x + y


def constants(flow, task):
    return {key: given.value for key, given in flow.inputs[task].items()}


def test_imperative_api_builds_the_seeds_graph():
    flow = Flow("imperative")

    add.set_upstream(one, flow=flow)
    add.bind(x=one, flow=flow)

    assert set(flow.tasks) == {one, add}
    assert Edge(one, add, "x") in flow.edges
    assert flow.sorted_tasks() == [one, add]
    assert flow.terminal_tasks() == {add}


def test_functional_api_adds_a_copy_of_the_task_at_each_call():
    with Flow("functional") as flow:
        first, second = add(one(), y=2), add(3)

    assert first is not second
    assert add not in flow.tasks
    assert constants(flow, second) == {"x": 3}
    assert len(flow.get_tasks("add")) == 2


def test_collections_of_tasks_are_edges():
    with Flow("collections") as flow:
        a, b = one(), one()
        total = add({"numbers": [a, (b, 2)]})

    assert flow.upstream_tasks(total) == {a, b}


def test_set_dependencies_sets_all_at_once():
    flow, before, after = Flow("all"), Task("before"), Task("after")

    flow.set_dependencies(add, upstream_tasks=[before], downstream_tasks=[after], keyword_tasks={"x": 1})

    assert flow.upstream_tasks(add) == {before}
    assert flow.upstream_tasks(after) == {add}
    assert constants(flow, add) == {"x": 1}


def test_upstream_tasks_and_set_downstream_order_without_data():
    with Flow("order") as flow:
        a, b = one(), one()
        c = add(1, upstream_tasks=[a])
        c.set_downstream(b)

    assert flow.sorted_tasks() == [a, c, b]
    assert constants(flow, c) == {"x": 1}


def test_task_subclasses_and_names():
    class Double(Task):
        def run(self, x):
            return 2 * x

    with Flow("subclass"):
        doubled = Double(name="twice")(x=4)
        renamed = one(task_args={"name": "uno"})

    assert doubled.name == "twice"
    assert renamed.name == "uno"
    assert one.name == "one"
    assert task(name="other")(lambda: 1).name == "other"


def cycle():
    flow = Flow("round")
    add.bind(x=one, flow=flow)
    one.set_upstream(add, flow=flow)
    flow.sorted_tasks()


def two_parameters():
    with Flow("twice"):
        add(Parameter("x"), Parameter("x"))


def unknown_argument():
    with Flow("unknown"):
        add(1, z=1)


def missing_argument():
    with Flow("missing"):
        add()


def parameter_after_a_task():
    with Flow("late"):
        Parameter("n").set_upstream(one())


def set_twice():
    flow = Flow("twice")
    add.bind(x=1, flow=flow)
    add.bind(x=2, flow=flow)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (missing_argument, "task 'add': missing a required argument: 'x'"),
        (parameter_after_a_task, "parameter 'n' cannot wait for a task"),
        (lambda: Flow(""), "a flow needs a name"),
        (lambda: task(lambda mapped: mapped), "an argument must not be called 'mapped'"),
        (lambda: add.set_upstream(1, flow=Flow("f")), "what 'add' waits for must be a task, not 1"),
        (cycle, "flow 'round' has a cycle: (one → add → one|add → one → add)"),
        (two_parameters, "two parameters have the name 'x'"),
        (unknown_argument, "task 'add': got an unexpected keyword argument 'z'"),
        (lambda: add.set_upstream(one, flow=Flow("f"), key="z"), "task 'add' has no argument 'z'; it has x, y"),
        (set_twice, "argument 'x' of task 'add' is set twice"),
        (lambda: one.set_upstream(add), "no flow is open"),
        (lambda: Flow("f").add_task(len), "is not a task; decorate the function with @task"),
        (lambda: one.copy(colour="red"), "task 'one' has no attribute 'colour'"),
    ],
)
def test_mistakes_are_one_sentence(build, message):
    with pytest.raises(InputError, match=message):
        build()
