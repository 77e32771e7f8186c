"""The cases: functions `NAME(lib)` that build a flow with the library `lib`, and return it and its run's options."""

import inspect
from importlib import import_module
from pathlib import Path


def _cases_of(theme):
    module = import_module(f"{__name__}.{theme}")
    for name, value in vars(module).items():
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_"):
            yield f"{theme}.{name}", value


CASES = {name: case for path in sorted(Path(__file__).parent.glob("[a-z]*.py")) for name, case in _cases_of(path.stem)}
