import click
import pytest
from dask_flow.dask_commands import DECIDED, FLAGS, VALUED, modern


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
        (["sh", "-c", "dask-worker --nprocs 2"], ["sh", "-c", "dask worker --nworkers 2"]),
        (["tcp://scheduler:8786", "--no-reconnect", "--nprocs", "2"], ["tcp://scheduler:8786", "--nworkers", "2"]),
        ([], []),
    ],
)
def test_flags_of_any_age(old, new):
    assert modern(old)[0] == new


def test_options_are_those_of_dasks_own_commands():
    from distributed.cli import dask_scheduler, dask_worker

    commands = {"worker": dask_worker.main, "scheduler": dask_scheduler.main}
    options = [each for command in commands.values() for each in command.params if isinstance(each, click.Option)]

    assert {name for each in options if not each.is_flag for name in each.opts} == VALUED
    assert {name for each in options if each.is_flag for name in (*each.opts, *each.secondary_opts)} == FLAGS - {
        "--help"
    }
    for role, decided in DECIDED.items():
        assert decided <= {name for each in commands[role].params for name in each.opts}
