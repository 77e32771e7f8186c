"""The library that a case is built with, Prefect 1 or dask_flow, and the file that its tasks write what they do to."""

import functools
import inspect
import json
import os
import time
from importlib import import_module

MODULES = {
    "triggers": "triggers",
    "signals": "engine.signals",
    "state": "engine.state",
    "control_flow": "tasks.control_flow",
}


class Library:
    """The import root `name` with its submodules as attributes; tasks made by its `task` record their runs."""

    def __init__(self, name, events):
        self.name = name
        self.events = str(events)

    def __reduce__(self):
        return Library, (self.name, self.events)

    def __getattr__(self, attribute):
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        if attribute in MODULES:
            return import_module(f"{self.name}.{MODULES[attribute]}")
        return getattr(import_module(self.name), attribute)

    def Flow(self, *args, **kwargs):  # noqa: N802 - in place of the class
        return _flow_class(self.name)(*args, **kwargs)

    def task(self, function=None, **options):
        if function is None:
            return lambda function: self.task(function, **options)
        name = options.get("name", function.__name__)
        return import_module(self.name).task(_recorded(function, name, self.record), **options)

    def note(self, key, *values):
        """Keep these values in the result of the case, in the order of the calls with this key."""
        self.record({"note": key, "values": values})

    def record(self, event):
        """Append an event; one write, so that processes don't mix theirs."""
        file = os.open(self.events, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
        try:
            os.write(file, json.dumps({**event, "at": time.monotonic_ns()}).encode() + b"\n")
        finally:
            os.close(file)


def _recorded(function, name, record):
    @functools.wraps(function)
    def run(*args, **kwargs):
        record({"run": name, "event": "start"})
        try:
            return function(*args, **kwargs)
        finally:
            record({"run": name, "event": "end"})

    run.__signature__ = inspect.signature(function)
    return run


@functools.cache
def _flow_class(name):
    """Return the Flow class; that of Prefect keeps its tasks in a set, here also in the order of their addition."""
    base = import_module(name).Flow
    if name != "prefect":
        return base

    class OrderedFlow(base):
        def add_task(self, task):
            order = self.__dict__.setdefault("order", [])
            if task not in order:
                order.append(task)
            return super().add_task(task)

    return OrderedFlow
