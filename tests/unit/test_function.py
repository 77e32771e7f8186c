"""Functions as flows: their parameters, by name and by annotation, and what they return."""

import asyncio
import dataclasses
import datetime as dt
import enum
import functools
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import dask
import pytest
from dask_flow.errors import InputError
from dask_flow.flows import function
from dask_flow.params import parse_params
from distributed import Client, LocalCluster
from pydantic import Field

if TYPE_CHECKING:
    from elsewhere import Unknown  # noqa: F401


EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def client():
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0", protocol="tcp://"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def called(flow, client, *pairs, mapping=None):
    """Return what the function gets for its only parameter from the command line."""
    params = parse_params(mapping, pairs)
    function.check(flow, params)
    result = function.run(flow, client, params)
    assert not result.errors, result.errors
    return result.results


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Window:
    first: dt.date
    days: int = 7


CONVERTED = [
    (int, "3", 3),
    (int, "012", 12),
    (int, "0x10", 16),
    (float, "3", 3.0),
    (float, "1e3", 1000.0),
    (str, "3", "3"),
    (str, "007", "007"),
    (str, "1.10", "1.10"),
    (str, "12:30", "12:30"),
    (str, "2024-01-02", "2024-01-02"),
    (str, "yes", "yes"),
    (str, "'quoted'", "quoted"),
    (str, "", ""),
    (bool, "yes", True),
    (bool, "0", False),
    (dt.date, "2024-01-02", dt.date(2024, 1, 2)),
    (dt.datetime, "2024-01-02 03:04:05", dt.datetime(2024, 1, 2, 3, 4, 5)),  # noqa: DTZ001
    (dt.datetime, "2024-01-02", dt.datetime(2024, 1, 2)),  # noqa: DTZ001
    (dt.time, "12:30", dt.time(12, 30)),
    (dt.timedelta, "1:30:00", dt.timedelta(hours=1, minutes=30)),
    (dt.timedelta, "90", dt.timedelta(seconds=90)),
    (Decimal, "1.10", Decimal("1.10")),
    (Path, "data/007", Path("data/007")),
    (Colour, "red", Colour.RED),
    (Literal["1", "2"], "1", "1"),
    (Literal[1, 2], "1", 1),
    (int | None, "null", None),
    (Optional[str], "007", "007"),  # noqa: UP045
    (int | str, "3", 3),
    (int | str, "three", "three"),
    (list[int], "[1, '2']", [1, 2]),
    (list[str], "[1, two]", ["1", "two"]),
    (tuple[int, str], "[1, a]", (1, "a")),
    (dict[str, float], "{a: 1}", {"a": 1.0}),
    (Window, "{first: 2024-01-02, days: '3'}", Window(dt.date(2024, 1, 2), 3)),
    (Annotated[int, Field(gt=0)], "1", 1),
    (Any, "2024-01-02", dt.date(2024, 1, 2)),
    (LocalCluster, "3", 3),
    ("int", "'3'", 3),
    ("Unknown", "3", 3),
    ("list[Unknown]", "[3]", [3]),
]


@pytest.mark.parametrize(("annotation", "text", "value"), CONVERTED, ids=lambda each: str(each)[:30])
def test_value_is_what_the_annotation_says(client, annotation, text, value):
    got = []

    def main(x):
        got.append(x)

    main.__annotations__["x"] = annotation

    called(main, client, f"x={text}")
    called(main, client, mapping=f"{{x: {text}}}")

    assert got == [value, value]
    assert [type(each) for each in got] == [type(value)] * 2


REFUSED = [
    (int, "three", r"main\(\) needs int for its parameter 'x', not 'three': input should be a valid integer"),
    (int, "yes", r"needs int for its parameter 'x', not 'yes'"),
    (bool, "maybe", r"needs bool for its parameter 'x', not 'maybe'"),
    (dt.date, "soon", r"needs datetime.date for its parameter 'x', not 'soon'"),
    (Colour, "green", r"needs .*Colour for its parameter 'x', not 'green': input should be 'red' or 'blue'"),
    (Literal["a", "b"], "c", r"not 'c': input should be 'a' or 'b'"),
    (list[int], "3", r"needs list\[int\] for its parameter 'x', not '3': input should be a valid list"),
    (list[int], "[1, b]", r"not \[1, 'b'\]: at \[1\] input should be a valid integer"),
    (Window, "{first: 1}", r"not {'first': 1}: at \['first'\]|not {'first': 1}: "),
    (Annotated[int, Field(gt=0)], "0", r"input should be greater than 0"),
]


@pytest.mark.parametrize(("annotation", "text", "message"), REFUSED, ids=lambda each: str(each)[:30])
def test_wrong_value_is_one_sentence_with_function_parameter_and_type(annotation, text, message):
    def main(x): ...

    main.__annotations__["x"] = annotation

    with pytest.raises(InputError, match=message):
        function.check(main, parse_params(None, [f"x={text}"]))


def test_values_of_a_program_are_converted_too(client):
    def main(x: str):
        return repr(x)

    assert function.run(main, client, {"x": 3}).results == {"main": "'3'"}


def test_keyword_only_positional_only_and_other_parameters_are_by_name(client):
    def main(a: int, /, b=2, *, c: str, **others: float):
        return repr((a, b, c, others))

    assert called(main, client, "a=1", "c=3", "d=4") == {"main": "(1, 2, '3', {'d': 4.0})"}


def test_parameters_of_partial_methods_and_wrapped_functions_are_found(client):
    class Job:
        def run(self, n: "int"):
            return n + 1

        __call__ = run

    def main(n: "int", more=0):
        return n + more

    @functools.wraps(main)
    def wrapper(*args, **kwargs):
        return main(*args, **kwargs)

    assert called(Job().run, client, "n='1'") == {"run": "2"}
    assert called(Job(), client, "n='1'") == {"Job": "2"}
    assert called(functools.partial(main, more=2), client, "n='1'") == {"partial": "3"}
    assert called(wrapper, client, "n='1'") == {"main": "1"}


def test_client_and_parameters_are_given_and_a_future_is_computed(client):
    def flow(client, n, times=2):
        return client.submit(lambda: n * times)

    assert function.run(flow, client, {"n": 21}).results == {"flow": "42"}


def test_client_without_arguments_is_one_of_the_runs_cluster(client):
    def main():
        with Client() as own:
            return own.scheduler.address, own.submit(lambda: 42).result()

    assert function.run(main, client, {}).results == {"main": f"('{client.scheduler.address}', 42)"}
    assert "DASK_SCHEDULER_ADDRESS" not in os.environ
    assert dask.config.get("scheduler-address", None) is None


def test_futures_and_collections_may_be_mixed_in_what_it_returns(client):
    def main(client):
        return [dask.delayed(len)("abc"), {"future": client.submit(len, "ab")}, 1]

    assert function.run(main, client, {}).results == {"main": "[3, {'future': 2}, 1]"}


def test_coroutine_is_run(client):
    async def main(client, n: int):
        await asyncio.sleep(0)
        return client.submit(abs, n)

    assert called(main, client, "n=-3") == {"main": "3"}
    assert called(functools.partial(main, n=-4), client) == {"partial": "4"}


def test_error_is_the_functions_own(client):
    def flow():
        raise KeyError("x")

    async def later():
        raise KeyError("x")

    assert isinstance(function.run(flow, client, {}).errors["flow"], KeyError)
    assert isinstance(function.run(later, client, {}).errors["later"], KeyError)


def test_generator_is_refused():
    def flow():
        yield 1

    with pytest.raises(InputError, match=r"flow\(\) is a generator; have it return"):
        function.check(flow, {})


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"m": 1, "n": 1}, r"flow\(\) has no parameter 'm'; it has n"),
        ({"client": 1, "n": 1}, r"flow\(\) has no parameter 'client'"),
        ({}, r"flow\(\) needs a value for n"),
    ],
)
def test_wrong_parameters_are_refused(params, message):
    def flow(client, n):
        pass

    with pytest.raises(InputError, match=message):
        function.check(flow, params)


def dask_flow(*args, **env):
    command = [sys.executable, "-m", "dask_flow", *map(str, args)]
    variables = {**os.environ, **env}
    return subprocess.run(command, capture_output=True, text=True, env=variables, check=False, timeout=120)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--param", "limit=many"), "main() needs int for its parameter 'limit', not 'many'"),
        (("--param", "limits=1"), "main() has no parameter 'limits'; it has limit, parts"),
        (("--arg", "1"), "--arg is for scripts"),
    ],
)
def test_wrong_parameters_exit_2_before_a_cluster_is_asked_for(args, message):
    done = dask_flow("run", EXAMPLES / "function.py", "--address", "tcp://127.0.0.1:9", "--startup-timeout=1", *args)

    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert "127.0.0.1:9" not in done.stderr


def test_text_parameters_stay_as_they_are_written(tmp_path):
    path = tmp_path / "flow.py"
    path.write_text("def main(number: str, time: str): return number, time\n")

    done = dask_flow("run", path, "--param", "number=007", DASK_FLOW_PARAMS="{time: 12:30}")

    assert "result of main: ('007', '12:30')" in done.stderr


def test_example_of_a_function_runs():
    done = dask_flow("run", EXAMPLES / "function.py", "--param", "limit=1000", "--param", "parts=4")

    assert done.returncode == 0, done.stderr
    assert "result of main: 168" in done.stderr
    assert "primes: 4 tasks" in done.stderr


def test_pydantic_is_not_imported_without_parameters():
    code = (
        "import sys; from dask_flow.flows import function\n"
        "def main(n: int = 3): ...\n"
        "function.check(main, {}); print('pydantic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"
