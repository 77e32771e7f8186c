"""The scheduler's process in the runner's pod."""

import subprocess
import sys

import pytest

SCRIPT = """
import _thread, multiprocessing, time
from dask_flow.clusters.deadline import Deadline
from dask_flow.clusters.scheduler import SchedulerProcess

if {thread}:  # as native code starts its own: Python's threading does not know it
    _thread.start_new_thread(time.sleep, (60,))
scheduler = SchedulerProcess("127.0.0.1", 0, 0, None)
print(type(multiprocessing.active_children()[0]).__name__)
scheduler.wait_until_ready(Deadline(60))
scheduler.stop()
"""


@pytest.mark.parametrize(("thread", "process"), [(False, "ForkProcess"), (True, "SpawnProcess")])
def test_scheduler_is_forked_only_from_a_process_of_one_thread(thread, process):
    script = SCRIPT.format(thread=thread)

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)

    assert (done.returncode, done.stdout) == (0, f"{process}\n"), done.stderr
