"""What is released: the package's bytes, Artifact Hub's annotations, one version."""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile

import chart_changes
import pytest
import release_version
import yaml
from rendering import CHART

ROOT = CHART.parents[1]
METADATA = yaml.safe_load((CHART / "Chart.yaml").read_text())
CHANGELOG = """# Changelog

## [1.1.0]

### Added

- A `thing` with
  two lines.

### Fixed

- It's gone: [how](docs/how.md), [why](https://example.com/why).

## [1.0.0]

### Added

- Old.
"""


def package(chart, folder):
    subprocess.run(["make", "package", f"CHART={chart}", f"DIST={folder}"], cwd=ROOT, capture_output=True, check=True)
    return folder / f"dask-flow-{METADATA['version']}.tgz"


def test_package_has_the_same_bytes_wherever_and_whenever_it_is_made(complete_chart, tmp_path):
    copy = shutil.copytree(complete_chart.path, tmp_path / "elsewhere", copy_function=shutil.copyfile)
    for number, path in enumerate(sorted(copy.rglob("*"))):
        os.utime(path, (number, number))

    # More than twice, since an order that is left to chance is often the same.
    made = [package(chart, tmp_path / str(number)) for number, chart in enumerate([complete_chart.path, *[copy] * 4])]

    assert len({hashlib.sha256(each.read_bytes()).hexdigest() for each in made}) == 1


def test_package_holds_what_users_need_and_no_more(complete_chart, tmp_path):
    with tarfile.open(package(complete_chart.path, tmp_path)) as archive:
        names = {name.removeprefix("dask-flow/") for name in archive.getnames()}

    assert {"Chart.yaml", "README.md", "values.yaml", "values.schema.json", "templates/NOTES.txt"} <= names
    assert "charts/dask-kubernetes-operator/templates/deployment.yaml" in names
    assert not [name for name in names if name.startswith("ci/") or name.endswith((".gotmpl", ".orig"))]


def test_changes_are_those_of_the_changelogs_newest_version():
    made = yaml.safe_load("".join(f"{line}\n" for line in chart_changes.annotation(CHANGELOG)))

    assert made == [
        {"kind": "added", "description": "A `thing` with two lines."},
        {
            "kind": "fixed",
            "description": "It's gone: how, why.",
            "links": [
                {"name": "how", "url": "https://github.com/dask-flow/dask-flow/blob/main/docs/how.md"},
                {"name": "why", "url": "https://example.com/why"},
            ],
        },
    ]


def test_changes_are_fresh():
    text = (CHART / "Chart.yaml").read_text()

    assert chart_changes.renewed(text, (ROOT / "CHANGELOG.md").read_text()) == text, "run `make docs`"


def test_annotations_are_what_artifact_hub_reads():
    given = {key.removeprefix("artifacthub.io/"): value for key, value in METADATA["annotations"].items()}
    lists = {key: yaml.safe_load(given[key]) for key in ("changes", "images", "links")}

    assert {each["kind"] for each in lists["changes"]} <= {
        *("added", "changed", "deprecated", "removed", "fixed", "security")
    }
    assert all(each["description"] for each in lists["changes"])
    assert all(each.keys() >= {"name", "image"} for each in lists["images"])
    assert all(each["url"].startswith("https://") for each in lists["links"])
    assert {given["prerelease"], given["operator"]} <= {"true", "false"}


def test_every_place_but_an_unreleased_changelog_states_the_charts_version():
    found = dict(release_version.stated())

    assert len(found) == 5
    assert {version for place, version in found.items() if "CHANGELOG" not in place} == {METADATA["version"]}


@pytest.mark.parametrize("tag", ["v9.9.9", METADATA["version"]])
def test_another_tag_than_the_versions_releases_nothing(tag):
    command = [sys.executable, ROOT / "tests/tools/release_version.py", tag]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (1, "")
    assert f"{tag} is not the tag of a release: " in done.stderr
