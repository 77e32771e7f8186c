import pytest
from dask_flow.dask_commands import modern


def test_seeds_worker_line_is_translated_with_a_warning_for_each_change():
    line, warnings = modern(["dask-worker", "--nthreads", "2", "--no-bokeh", "--memory-limit", "4GB"])

    assert line == ["dask", "worker", "--nthreads", "2", "--no-dashboard", "--memory-limit", "4GB"]
    assert warnings == ["dask-worker is now dask worker", "--no-bokeh is now --no-dashboard"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["dask-scheduler", "--port", "8786"], ["dask", "scheduler", "--port", "8786"]),
        (["dask-worker", "--nprocs=2"], ["dask", "worker", "--nworkers=2"]),
        (["dask-worker", "--bokeh-port", "8789"], ["dask", "worker", "--dashboard-address", ":8789"]),
        (["dask-worker", "--bokeh-port=8789"], ["dask", "worker", "--dashboard-address=:8789"]),
        (["dask", "worker", "--nthreads", "1"], ["dask", "worker", "--nthreads", "1"]),
        (["sh", "-c", "dask-worker"], ["sh", "-c", "dask-worker"]),
        ([], []),
    ],
)
def test_flags_of_any_age(old, new):
    assert modern(old)[0] == new
