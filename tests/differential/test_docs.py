"""The list of meant differences in the docs is that of the tests."""

from pathlib import Path

from meant import MEANT

PAGE = Path(__file__).parents[2] / "docs/prefect-api.md"


def test_meant_differences_are_those_of_the_docs():
    section = PAGE.read_text(encoding="utf-8").partition("## Meant differences")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]

    assert rows == [entry.row for entry in MEANT]
