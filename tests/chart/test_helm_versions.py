"""Helm 3 and Helm 4 make the same of the chart."""

import re
import subprocess

import pytest
import yaml
from rendering import Chart
from test_render import RUNS

# What Helm 4 writes otherwise than Helm 3, as a pattern, and what Helm 3 writes. CONTRIBUTING.md lists the same.
DIFFERENCES = {"an empty line at a document's end": (r"\n\n(?=---\n|\Z)", "\n")}


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_both_helms_render_the_same_bytes(complete_chart, path):
    values = yaml.safe_load(path.read_text())
    old, new = (Chart(complete_chart.path, helm).run(values) for helm in ("helm3", "helm"))
    assert (old.returncode, new.returncode) == (0, 0), old.stderr + new.stderr
    as_old = new.stdout
    for written, by_helm_3 in DIFFERENCES.values():
        as_old = re.sub(written, by_helm_3, as_old)

    assert as_old == old.stdout != ""


@pytest.mark.parametrize("helm", ["helm3", "helm"])
@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_both_helms_lint_the_chart(complete_chart, helm, path):
    command = [helm, "lint", "--strict", "--quiet", complete_chart.path, "-f", path]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("helm", ["helm3", "helm"])
def test_wrong_values_are_refused_by_both_helms(helm):
    done = Chart(helm=helm).run({"cluster": {"minWorkers": 3, "maxWorkers": 2}})

    assert done.returncode != 0
    assert "cluster.minWorkers (3) is more than cluster.maxWorkers (2)" in done.stderr
