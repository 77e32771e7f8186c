"""What linters of others say of every rendering: findings.yaml has the reason why each finding is not one.

checkov (https://www.checkov.io) and kube-score (https://github.com/zegl/kube-score), with all their default checks.
"""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from rendering import CHART, with_jobs
from test_render import RUNS

CHECKOV = CHART.parents[1] / ".venv-checkov/bin/checkov"
ACCEPTED = yaml.safe_load((Path(__file__).parent / "findings.yaml").read_text())
ALLOWED = 7  # kube-score's grades: 1 is critical, 5 a warning, 7 almost fine, 10 all well


@pytest.fixture(scope="session")
def renderings(complete_chart, tmp_path_factory):
    folder = tmp_path_factory.mktemp("renderings")
    for path in RUNS:
        (folder / f"{path.stem}.yaml").write_text(
            yaml.safe_dump_all(with_jobs(complete_chart.objects("-f", str(path))))
        )
    return folder


def said_by_checkov(folder):
    """Yield each finding: the check, and where it is, as RENDERING KIND/NAME."""
    command = [CHECKOV, "--framework=kubernetes", "--skip-download", "--quiet", "--compact", "-o", "json", "-d", folder]
    report = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["resource_count"] >= len(RUNS)
    for each in report["results"]["failed_checks"]:
        kind, _, name = each["resource"].split(".")[:3]
        yield f"{each['check_id']} {each['check_name']}", f"{Path(each['file_path']).stem} {kind}/{name}"


def said_by_kube_score(path):
    command = ["kube-score", "score", "--kubernetes-version=v1.32", "--output-format=json", path]
    report = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    assert report
    for each in report:
        where = f"{path.stem} {each['type_meta']['kind']}/{each['object_meta']['name']}"
        for check in each["checks"]:
            if not check["skipped"] and check["grade"] < ALLOWED:
                for comment in check["comments"]:
                    yield f"{check['check']['id']} {comment['summary']}", where


@pytest.fixture(scope="session")
def findings(renderings):
    by_kube_score = [found for path in sorted(renderings.iterdir()) for found in said_by_kube_score(path)]
    return {"checkov": set(said_by_checkov(renderings)), "kube-score": set(by_kube_score)}


def accepted(linter):
    """Return what is accepted, as pairs of a check and a pattern of where."""
    entries = ACCEPTED[linter]
    assert all(entry["reason"] for entry in entries)
    return [(check, entry.get("where", "")) for entry in entries for check in entry["checks"]]


def accepts(pair, finding):
    return finding[0].startswith(pair[0]) and re.search(pair[1], finding[1])


@pytest.mark.parametrize("linter", ACCEPTED)
def test_every_finding_has_a_reason_to_be_accepted(findings, linter):
    pairs = accepted(linter)

    assert [each for each in sorted(findings[linter]) if not any(accepts(pair, each) for pair in pairs)] == []


@pytest.mark.parametrize("linter", ACCEPTED)
def test_every_reason_is_of_a_finding(findings, linter):
    assert [pair for pair in accepted(linter) if not any(accepts(pair, each) for each in findings[linter])] == []
