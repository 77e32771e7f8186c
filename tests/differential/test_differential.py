"""Compare what dask_flow does with each case with what Prefect 1 does with it, on each executor."""

import json
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from dask_flow.executors import DaskExecutor
from flows import CASES
from harness import run_case, within
from meant import MEANT, differences

HERE = Path(__file__).parent
PREFECT = HERE.parents[1] / ".venv-oracle/bin/python"
SECONDS = 60
"""Within which a case must end; one that hangs is a failure."""


@pytest.fixture(scope="session")
def oracle(tmp_path_factory):
    """Return what Prefect does with each case."""
    if not PREFECT.exists():
        pytest.fail(f"{PREFECT} is not there; `make differential` installs it")
    outcomes = tmp_path_factory.mktemp("oracle") / "outcomes.json"
    subprocess.run([PREFECT, HERE / "oracle.py", outcomes], check=True, timeout=200)
    return json.loads(outcomes.read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES)
def test_case_comes_out_as_in_prefect(case, executor, oracle):
    unmeant, _ = differences(case, oracle[case], _outcome(case, executor))

    assert not unmeant, "\n".join(unmeant)


@pytest.mark.parametrize("entry", MEANT, ids=lambda entry: entry.cases)
def test_meant_difference_is_there(entry, cluster, oracle):
    path, value = entry.shown
    executor = DaskExecutor(address=cluster.scheduler_address)
    outcomes = {case: _outcome(case, executor) for case in CASES if fnmatchcase(case, entry.cases)}

    assert outcomes
    for case, outcome in outcomes.items():
        assert entry in differences(case, oracle[case], outcome)[1], f"{case} no longer differs; remove the entry"
        assert fnmatchcase(outcome[path], value)


def test_cases_start_no_task_before_its_upstream_is_over(oracle):
    assert not {case: outcome["order"] for case, outcome in oracle.items() if outcome.get("order")}


def _outcome(case, executor):
    outcome = within(SECONDS, lambda: run_case("dask_flow", CASES[case], executor))
    return json.loads(json.dumps(outcome))
