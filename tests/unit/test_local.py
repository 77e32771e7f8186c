"""The cluster of processes on this machine: what of the settings it follows."""

from contextlib import ExitStack

import pytest
from dask_flow.clusters.local import cluster
from dask_flow.history import History
from dask_flow.settings import RunSettings


@pytest.mark.filterwarnings("ignore:Port .* is already in use:UserWarning")
@pytest.mark.parametrize("stealing", [True, False])
def test_local_cluster_steals_and_scales_as_the_settings_say(stealing):
    settings = RunSettings(
        target="flow.py",
        max_workers=3,
        work_stealing=stealing,
        adaptive_interval=5,
        adaptive_target_duration=7,
        adaptive_wait_count=11,
    )

    with ExitStack() as stack:
        client = cluster(stack, settings, History(), lambda _: None)
        local = client.cluster
        adaptive = local._adaptive
        found = adaptive.minimum, adaptive.maximum, adaptive.interval, adaptive.target_duration, adaptive.wait_count
        steals = "stealing" in local.scheduler.extensions

    assert found == (1, 3, 5, 7, 11)
    assert steals is stealing
