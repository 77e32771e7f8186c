"""Prefect 1 flows, by the real package; its tests run in .venv-oracle."""

import os
from ast import literal_eval
from pathlib import Path

import pytest

pytest.importorskip("prefect.core.flow", reason="it needs Prefect 1: make prefect")

from dask_flow.errors import InputError
from dask_flow.flows import adapter_for, kind_of, prefect1
from dask_flow.params import parse_params
from dask_flow.targets import load

EXAMPLE = Path(__file__).parents[2] / "examples/prefect1_flow.py"

HEAD = """
    import datetime, os, time
    import prefect
    from prefect import Flow, Parameter, case, task, unmapped
    from prefect.engine import signals

    @task
    def numbers(n):
        return list(range(n))

    @task
    def double(x):
        return 2 * x

    @task
    def process(x):
        time.sleep(0.1)
        return os.getpid()

    @task
    def picky(x):
        if x == 2:
            raise ValueError(f"no {x}")
        return x

    @task(log_stdout=True)
    def says(word):
        print(f"printed {word}")
        prefect.context.get("logger").warning("logged %s", word)

    @task
    def total(values):
        return sum(values)
"""


@pytest.fixture
def loaded(write):
    def loaded(body):
        flow = load(str(write(HEAD + body))).flow
        assert kind_of(flow) == "prefect1"
        assert adapter_for(flow) is prefect1
        return flow

    return loaded


@pytest.fixture
def run(loaded, client):
    def run(body, *pairs):
        flow, params = loaded(body), parse_params(None, pairs)
        prefect1.check(flow, params)
        return prefect1.run(flow, client, params)

    return run


MAPPED = """
    with Flow("mapped") as flow:
        total(double.map(numbers(Parameter("n", default=3))))
"""


@pytest.mark.parametrize(("pairs", "expected"), [([], "6"), (["n=5"], "20")])
def test_results_are_those_of_the_last_tasks(run, pairs, expected):
    assert run(MAPPED, *pairs).results == {"total": expected}


@pytest.mark.filterwarnings("default:Attempting to call:UserWarning")
def test_run_and_register_at_the_top_level_do_nothing_while_the_file_is_loaded(loaded, tmp_path, caplog):
    ran = tmp_path / "ran"
    loaded(f"""
    @task
    def mark():
        open({str(ran)!r}, "w").close()

    with Flow("top level") as flow:
        mark()
    flow.run()
    flow.register("project")
    """)

    assert not ran.exists()
    assert "Attempting to call `flow.run`" in caplog.text
    assert "Attempting to call `flow.register`" in caplog.text


def test_mapped_tasks_run_in_the_workers_processes(run, client):
    result = run("""
    with Flow("processes") as flow:
        process.map(list(range(8)))
    """)

    assert set(literal_eval(result.results["process"])) == set(client.run(os.getpid).values())


def test_failed_item_is_named_and_so_is_what_was_not_run(run, caplog):
    with caplog.at_level("INFO", logger="dask_flow"):
        result = run("""
    with Flow("failing") as flow:
        total(picky.map(numbers(4)))
        says("hello")
    """)

    assert {name: repr(error) for name, error in result.errors.items()} == {"picky[2]": "ValueError('no 2')"}
    assert result.skipped == ("total",)
    assert result.logged
    assert "task picky[2]: Exception encountered during task execution!" in caplog.text
    assert "ValueError: no 2" in caplog.text


def test_flow_succeeds_in_spite_of_a_failure_that_it_allows(run, caplog):
    result = run("""
    with Flow("allowed") as flow:
        failed = picky(2)
        flow.set_reference_tasks([double(1)])
    """)

    assert not result.errors
    assert result.results == {"double": "2"}
    assert "the flow succeeded in spite of failed tasks: picky" in caplog.text


def test_retries_cases_and_skips_work(run, tmp_path):
    marker = tmp_path / "marker"
    result = run(f"""
    @task(max_retries=1, retry_delay=datetime.timedelta(seconds=0))
    def flaky():
        if not os.path.exists({str(marker)!r}):
            open({str(marker)!r}, "w").close()
            raise ConnectionError("once")
        return "the second time"

    @task
    def skipped():
        raise signals.SKIP("not today")

    with Flow("flaky") as flow:
        flaky()
        double(skipped())
        with case(True, False):
            says("never")
    """)

    assert result.results == {"flaky": "the second time"}
    assert not result.errors


def test_prints_and_logs_of_workers_are_in_the_log_with_the_task(run, caplog):
    with caplog.at_level("INFO", logger="dask_flow"):
        run("""
    with Flow("talking") as flow:
        says.map(["one", "two"])
    """)

    assert "task says[0]: printed one" in caplog.text
    assert "task says[1]: logged two" in caplog.text
    assert "task says[1]: Finished task run for task with final state: 'Success'" in caplog.text


def test_workers_connect_to_nothing_but_the_cluster(run, connections):
    run(MAPPED)

    assert connections() == set()


def test_what_has_no_effect_is_told(run, caplog):
    result = run("""
    from prefect.executors import LocalDaskExecutor
    from prefect.run_configs import KubernetesRun
    from prefect.schedules import IntervalSchedule

    with Flow(
        "declared",
        executor=LocalDaskExecutor(),
        run_config=KubernetesRun(image="other"),
        schedule=IntervalSchedule(interval=datetime.timedelta(days=1)),
    ) as flow:
        double(1)
    """)

    assert result.results == {"double": "2"}
    assert "the flow's executor is not used: the flow runs on the run's cluster" in caplog.text
    assert "the flow's run_config is not used" in caplog.text
    assert "the flow's schedule is not used: it runs once, now" in caplog.text


REQUIRED = """
    with Flow("strict") as flow:
        double(Parameter("x"))
"""


@pytest.mark.parametrize(
    ("body", "pairs", "message"),
    [
        (MAPPED, ["m=1"], "the flow mapped has no parameter 'm'; it has n"),
        (REQUIRED, [], "the flow strict needs a value for x; give --param x=VALUE"),
    ],
)
def test_bad_parameters_are_told_before_anything_starts(loaded, body, pairs, message):
    with pytest.raises(InputError) as caught:
        prefect1.check(loaded(body), parse_params(None, pairs))

    assert str(caught.value) == message


def test_cycle_is_told_before_anything_starts(loaded):
    flow = loaded("""
    with Flow("round") as flow:
        first = double(1)
        second = double(first)
        flow.add_edge(second, first, validate=False)
    """)

    with pytest.raises(InputError, match="the flow round is not valid: ValueError: Cycle found"):
        prefect1.check(flow, {})


def test_example_runs_by_the_command(dask_flow):
    done = dask_flow("run", EXAMPLE, "--param", "limit=9.5", "--max-workers", "1")

    assert done.returncode == 0, done.stderr
    assert "result of report: warm: Oslo, Lima, Singapore" in done.stderr
    assert (done.stderr + done.stdout).count("Oslo: 20 degrees") == 1


def test_failing_flow_ends_the_command_with_the_task(dask_flow, write):
    body = """
    with Flow("failing") as flow:
        total(picky.map(numbers(4)))
    """
    done = dask_flow("run", write(HEAD + body))

    assert done.returncode == 1, done.stderr
    reason = "error: the flow failed: task picky[2]: ValueError: no 2; not run because of it: total"
    assert done.stderr.splitlines()[-1].endswith(reason)


def test_task_that_kills_its_workers_is_named(dask_flow, write):
    body = """
    @task
    def fatal():
        os._exit(1)

    with Flow("killing") as flow:
        fatal()
    """
    done = dask_flow("run", write(HEAD + body))

    assert done.returncode == 1, done.stderr
    assert "error: the flow failed: task fatal: KilledWorker: " in done.stderr.splitlines()[-1]
    assert done.stderr.count("Traceback") == 1


def test_bad_parameter_ends_the_command_with_2(dask_flow):
    done = dask_flow("run", EXAMPLE, "--param", "lim=1")

    assert done.returncode == 2, done.stderr
    assert done.stderr.endswith("error: the flow weather has no parameter 'lim'; it has cities, limit\n")
