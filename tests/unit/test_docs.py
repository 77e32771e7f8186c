"""The docs say what is so."""

import re
import subprocess
import sys
from pathlib import Path
from xml.dom import minidom

from dask_flow import cli
from dask_flow.not_here import INSTEAD

ROOT = Path(__file__).parents[2]
DOCS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("charts/*/README.md")]


def test_readmes_flow_runs(tmp_path):
    text = (ROOT / "README.md").read_text()
    (tmp_path / "flow.py").write_text(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1])
    command = re.search(r"^    dask-flow (run flow.py .*)$", text, re.MULTILINE)[1].split()

    done = subprocess.run(
        [sys.executable, "-m", "dask_flow", *command], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "result of sum: 21" in done.stderr


def test_every_option_is_documented():
    text = (ROOT / "docs/running-flows.md").read_text()
    options = [name for option in cli.run.params for name in option.opts if name.startswith("--")]

    assert len(options) >= 12
    assert [name for name in options if not re.search(rf"`{name}(?![-a-z])", text)] == []


def test_every_documented_option_exists():
    text = (ROOT / "docs/running-flows.md").read_text()
    table = text[text.index("| option |") : text.index("## Targets")]
    known = {name for option in cli.run.params for name in option.opts}

    assert set(re.findall(r"`(--[a-z-]+)", table)) <= known


def test_everything_of_prefect_that_is_refused_is_documented():
    text = (ROOT / "docs/prefect-api.md").read_text()
    names = [re.findall(r"\w+", name.removesuffix("=…)"))[-1] for name in INSTEAD]

    assert [name for name in names if not re.search(rf"\b{name}\b", text)] == []


def test_links_lead_to_files():
    links = [(doc, link) for doc in DOCS for link in re.findall(r"\]\((?!http)([^)#]+)\)", doc.read_text())]

    assert links
    assert [link for doc, link in links if not (doc.parent / link).exists()] == []


def test_make_targets_in_the_docs_exist():
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        name
        for doc in DOCS
        for name in re.findall(r"(?:^    |`)make(?: --silent)? ([a-z0-9-]+)", doc.read_text(), re.MULTILINE)
    }

    assert named
    assert named <= targets


def test_pictures_are_well_formed():
    for path in ROOT.glob("docs/*.svg"):
        assert minidom.parse(str(path)).documentElement.tagName == "svg"
