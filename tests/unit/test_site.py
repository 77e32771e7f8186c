"""The docs site: all pages are in it, its links lead somewhere, and it asks nothing of any other host."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MADE_HERE = {"index.md", "contributing.md", "changelog.md"}
# Attributes by which a browser fetches something by itself, by the element.
FETCHING = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src", "use": "href"}


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


class Fetches(HTMLParser):
    """What a browser fetches for a page."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag == "link" and values.get("rel") in {"canonical", "next", "prev", "edit"}:
            return
        self.found += [values[FETCHING[tag]]] if values.get(FETCHING.get(tag)) else []


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2].partition("\ntheme:")[0]
    listed = re.findall(r"(\S+\.md)$", navigation, re.MULTILINE)

    assert sorted(listed) == sorted({path.name for path in ROOT.glob("docs/*.md")} | MADE_HERE)


def test_site_is_built_with_a_page_for_each(site):
    # --strict: no link, also to a heading, leads nowhere.
    names = {path.stem for path in ROOT.glob("docs/*.md")} | {name.removesuffix(".md") for name in MADE_HERE}

    assert names <= {path.stem for path in site.glob("*.html")}


def test_pages_fetch_nothing_from_elsewhere(site):
    fetched = {link for path in site.glob("*.html") for link in Fetches(path.read_text(encoding="utf-8")).found}

    assert {link for link in fetched if link.endswith(".css")}
    assert {link for link in fetched if re.match(r"(\w+:)?//", link)} == set()


def test_styles_fetch_nothing_from_elsewhere(site):
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))

    assert styles
    assert re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//[^)]*", styles) == []


def test_links_of_the_readme_lead_to_pages_of_the_site(site):
    links = re.findall(r'href="([^"#]+)', (site / "index.html").read_text(encoding="utf-8"))

    assert set(links) >= {"bring-your-flow.html", "values.html", "contributing.html"}
