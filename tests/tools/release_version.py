"""Print the version that a tag releases; refuse a tag that chart, image, package and changelog do not all have.

Usage: release_version.py TAG
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHART = "charts/dask-flow/Chart.yaml"
# Where each file says its version.
PLACES = (
    (CHART, r"^version: (.*)$"),
    (CHART, r"^appVersion: (.*)$"),
    (CHART, r"^ +image: ghcr\.io/dask-flow/dask-flow:(.*)$"),
    ("runner/src/dask_flow/__init__.py", r'^__version__ = "(.*)"$'),
    ("CHANGELOG.md", r"^## \[(\d.*?)\]"),
)


def stated(root=ROOT):
    """Yield each place and the first version that it states, None without one."""
    for path, pattern in PLACES:
        found = re.search(pattern, (root / path).read_text(), re.MULTILINE)
        yield f"{path}: {pattern}", found and found[1]


def others(version, root=ROOT):
    """Return the places that state another version than this one."""
    return [f"{place} states {found}" for place, found in stated(root) if found != version]


if __name__ == "__main__":
    tag = sys.argv[1]
    wrong = others(tag.removeprefix("v"))
    if wrong or not tag.startswith("v"):
        sys.exit(f"{tag} is not the tag of a release: " + "; ".join(wrong or ["it must begin with v"]))
    sys.stdout.write(tag.removeprefix("v") + "\n")
