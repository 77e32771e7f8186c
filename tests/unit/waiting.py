"""Wait for a condition, not for a time."""

import time


def eventually(condition, seconds=20):
    """Wait until the condition holds; fail if it does not within so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
