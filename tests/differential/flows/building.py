"""The functional and the imperative ways to build a flow."""

from simple_tasks import simple_tasks


def functional_chain(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same(t.add(t.one(), 2))
    return flow, {}


def tasks_without_a_call_are_added_once(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same(t.one)
        t.add(t.one, t.one)
    lib.note("tasks", len(flow.get_tasks(name="one")))
    return flow, {}


def each_call_is_a_copy(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        first, second = t.one(), t.one()
    lib.note("copies", first is not second, t.one in flow.tasks)
    return flow, {}


def diamond(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        top = t.one()
        t.add(t.same(top, task_args={"name": "left"}), t.same(top, task_args={"name": "right"}))
    return flow, {}


def decorator_with_arguments(lib):
    @lib.task(name="another name", tags=["b", "a"], log_stdout=False)
    def named(x, y=5):
        return x * y

    with lib.Flow("flow") as flow:
        made = named(2)
        named(2, y=3)
    lib.note("task", made.name, sorted(made.tags))
    return flow, {}


def task_subclass(lib):
    class Multiply(lib.Task):
        def __init__(self, factor, **options):
            self.factor = factor
            super().__init__(**options)

        def run(self, x):
            return x * self.factor

    with lib.Flow("flow") as flow:
        Multiply(3)(Multiply(2, name="twice")(x=4))
    return flow, {}


def task_subclass_with_options(lib):
    class Broken(lib.Task):
        def run(self):
            raise ValueError("broken")

    class Cleanup(lib.Task):
        def __init__(self):
            super().__init__(name="tidy", trigger=lib.triggers.any_failed)

        def run(self, x):
            return type(x).__name__

    with lib.Flow("flow") as flow:
        Cleanup()(Broken())
    return flow, {}


def bare_task(lib):
    flow = lib.Flow("flow")
    flow.add_task(lib.Task("nothing"))
    return flow, {}


def imperative_seeds_example(lib):
    t = simple_tasks(lib)
    flow = lib.Flow("flow")
    t.same.set_upstream(t.one, flow=flow)
    t.same.bind(x=t.one, flow=flow)
    return flow, {}


def set_upstream_with_key(lib):
    t = simple_tasks(lib)
    flow = lib.Flow("flow")
    t.same.set_upstream(t.one, flow=flow, key="x")
    return flow, {}


def set_downstream_with_key(lib):
    t = simple_tasks(lib)
    flow = lib.Flow("flow")
    t.one.set_downstream(t.same, flow=flow, key="x")
    return flow, {}


def set_upstream_and_downstream_order(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        one, numbers, empty = t.one(), t.numbers(), t.empty()
        empty.set_upstream(numbers)
        one.set_downstream(numbers)
    return flow, {}


def set_upstream_mapped(lib):
    t = simple_tasks(lib)
    flow = lib.Flow("flow")
    t.same.set_upstream(t.numbers, flow=flow, key="x", mapped=True)
    return flow, {}


def set_dependencies_of_task(lib):
    t = simple_tasks(lib)
    flow = lib.Flow("flow")
    t.add.set_dependencies(
        flow=flow, upstream_tasks=[t.empty], downstream_tasks=[t.numbers], keyword_tasks={"x": t.one, "y": 2}
    )
    return flow, {}


def set_dependencies_of_flow(lib):
    t = simple_tasks(lib)
    flow = lib.Flow("flow")
    flow.set_dependencies(t.add, upstream_tasks=[t.empty], keyword_tasks={"x": t.one, "y": [t.one, 2]})
    return flow, {}


def set_dependencies_mapped(lib):
    t = simple_tasks(lib)
    flow = lib.Flow("flow")
    flow.set_dependencies(t.add, keyword_tasks={"x": t.numbers, "y": lib.unmapped(t.one)}, mapped=True)
    return flow, {}


def mapped_dependencies_with_a_task_after(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same.set_dependencies(keyword_tasks={"x": t.numbers}, downstream_tasks=[t.one], mapped=True)
    return flow, {}


def add_task_and_add_edge(lib):
    t = simple_tasks(lib)
    flow = lib.Flow("flow")
    flow.add_task(t.one)
    flow.add_edge(t.one, t.same, key="x")
    flow.add_edge(t.same, t.empty)
    return flow, {}


def add_edge_mapped(lib):
    t = simple_tasks(lib)
    flow = lib.Flow("flow")
    flow.add_edge(upstream_task=t.numbers, downstream_task=t.same, key="x", mapped=True)
    return flow, {}


def chain(lib):
    t = simple_tasks(lib)
    flow = lib.Flow("flow")
    edges = flow.chain(t.one, t.numbers, t.empty)
    lib.note("edges", [[edge.upstream_task.name, edge.downstream_task.name] for edge in edges])
    return flow, {}


def tasks_and_edges_of_constructor(lib):
    t = simple_tasks(lib)
    edges = [lib.core.Edge(t.one, t.same, key="x")]
    return lib.Flow("flow", tasks=[t.numbers], edges=edges), {}


def bind_of_an_instance(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        bound = t.add.bind(1, y=t.one)
    lib.note("same", bound is t.add, t.add in flow.tasks)
    return flow, {}


def upstream_tasks_order(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same(3, upstream_tasks=[t.one(), t.numbers])
    return flow, {}


def failing_upstream_task_without_data(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same(3, upstream_tasks=[t.one(), t.fails()])
    return flow, {}


def task_args(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        made = t.same(t.fails(), task_args={"name": "renamed", "trigger": lib.triggers.all_failed, "tags": {"new"}})
    lib.note("task", made.name, sorted(made.tags), t.same.name)
    return flow, {}


def tags_of_context(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        with lib.tags("outer"), lib.tags("inner"):
            t.one(task_args={"tags": ["own"]})
        t.same(2)
    lib.note("tags", [sorted(task.tags) for task in flow.get_tasks(name="one")])
    lib.note("by tag", [task.name for task in flow.get_tasks(tags=["outer", "inner"])])
    return flow, {}


def get_tasks(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same(lib.Parameter("p", default=1))
        t.same(t.one())
    lib.note("same", len(flow.get_tasks(name="same")))
    lib.note("parameters", [task.name for task in flow.get_tasks(task_type=lib.Parameter)])
    lib.note("none", flow.get_tasks(name="absent"), flow.get_tasks(tags=["absent"]))
    return flow, {}


def graph_queries(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        end = t.add(t.one(), t.same(1))

    def names(tasks):
        return sorted(task.name for task in tasks)

    lib.note("queries", names(flow.terminal_tasks()), names(flow.upstream_tasks(end)), names(flow.reference_tasks()))
    lib.note("downstream", names(flow.downstream_tasks(flow.get_tasks(name="one")[0])), flow.sorted_tasks()[-1].name)
    lib.note("edges", sorted([edge.upstream_task.name, edge.key, edge.mapped] for edge in flow.edges))
    return flow, {}


def pipe_symbol_orders(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        last = t.one() | t.numbers()
    lib.note("last", last.name)
    return flow, {}


def nested_flow_contexts(lib):
    t = simple_tasks(lib)
    with lib.Flow("outer") as flow:
        t.one()
        with lib.Flow("inner") as inner:
            t.numbers()
        t.empty()
    lib.note("inner", [task.name for task in inner.tasks])
    return flow, {}


def flow_without_tasks(lib):
    return lib.Flow("flow"), {}


def same_flow_runs_twice(lib):
    t = simple_tasks(lib)
    with lib.Flow("flow") as flow:
        t.same(lib.Parameter("p", default=1))
    lib.note("first", type(flow.run(p=5)).__name__)
    return flow, {}
