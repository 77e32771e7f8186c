"""Random flows come out as a model says, on each executor. The model was held to Prefect 1 with the same flows."""

import os

from dask_flow.executors import DaskExecutor
from harness import within
from hypothesis import HealthCheck, given, settings
from library import Library
from random_flows import build, flows, model, outcome_of

SECONDS = 60
"""Within which a flow must end; one that hangs is a failure."""


def _examples(number):
    # The same each time, and none that an earlier run has left.
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=number, derandomize=True, database=None, deadline=None, suppress_health_check=slow)


def _check(executor, nodes):
    flow, tasks = build(Library("dask_flow", os.devnull), nodes)

    state = within(SECONDS, lambda: flow.run(executor=executor))

    assert (type(state).__name__, [outcome_of(state.result[task]) for task in tasks]) == model(nodes)


@_examples(150)
@given(nodes=flows())
def test_random_flow_comes_out_as_the_model_says(executor_here, nodes):
    _check(executor_here, nodes)


@_examples(150)
@given(nodes=flows())
def test_random_flow_on_a_cluster_comes_out_as_the_model_says(cluster, nodes):
    _check(DaskExecutor(address=cluster.scheduler_address), nodes)
