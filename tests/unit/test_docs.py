"""The docs say what is so."""

import re
import runpy
from pathlib import Path
from xml.dom import minidom

import pytest
from dask_flow import cli, errors
from dask_flow.not_here import INSTEAD

ROOT = Path(__file__).parents[2]
SOURCES = [*ROOT.glob("runner/src/**/*.py"), *(ROOT / "charts/dask-flow/templates").rglob("*.*")]
REFERENCE = runpy.run_path(str(ROOT / "docs/site/reference.py"))["PAGES"]
DOCS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("charts/*/README.md")]


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


@pytest.mark.parametrize("path", REFERENCE, ids=lambda path: path.name)
def test_reference_is_fresh(path):
    assert path.read_text(encoding="utf-8") == REFERENCE[path](), "run `make docs`"


def test_every_label_and_annotation_is_documented():
    text = (ROOT / "docs/names.md").read_text(encoding="utf-8")
    keys = r"\b(?:dask-flow/(?:run|runner|worker-group|files-checksum)|app\.kubernetes\.io/[a-z-]+|helm\.sh/chart)\b"
    named = {key for path in SOURCES for key in re.findall(keys, path.read_text(encoding="utf-8"))}

    assert len(named) >= 9
    assert [key for key in named if f"`{key}`" not in text] == []


def test_every_variable_of_its_own_is_documented():
    text = (ROOT / "docs/names.md").read_text(encoding="utf-8")
    options = {each.envvar for each in cli.run.params if getattr(each, "envvar", None)}
    used = {
        name for path in SOURCES for name in re.findall(r"\bDASK_FLOW_[A-Z_]+[A-Z]\b", path.read_text(encoding="utf-8"))
    }

    assert len(used - options) >= 5
    assert [name for name in used - options if f"`{name}`" not in text] == []


def test_every_exit_code_is_documented():
    text = (ROOT / "docs/names.md").read_text(encoding="utf-8")
    codes = {kind.exit_code for kind in errors.DaskFlowError.__subclasses__()}

    assert codes == {1, 2, 3, 4}
    assert [code for code in codes if not re.search(rf"^\| {code} \| ", text, re.MULTILINE)] == []


def test_figures_of_the_comparison_are_measured():
    text = (ROOT / "docs/comparison.md").read_text(encoding="utf-8")
    measured = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
    section = text.partition("## Measured")[2].partition("\n## ")[0]
    figures = re.findall(r"(?<=\| )\d[\d.,]*(?= \|)", section)

    assert len(figures) == 14
    assert [figure for figure in figures if not re.search(rf"(?<![\d.,]){re.escape(figure)}(?![\d.,])", measured)] == []


def test_figures_of_the_design_are_measured():
    text = (ROOT / "docs/design.md").read_text(encoding="utf-8")
    measured = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")

    ratios = re.findall(r"^\| first task \(s\): dask-flow / \w+ \(.*\) \| ([\d.]+)", measured, re.MULTILINE)
    assert re.findall(r"\b0\.\d+", text) == ratios
    assert len(ratios) == 2
