"""The documents that the project comes from, for tests of their examples; they are beside the project, if anywhere."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "shared/seeds"


def seed(name):
    path = FOLDER / name
    if not path.exists():
        pytest.skip("the seeds' documents are not there")
    return path.read_text()


def with_our_imports(text):
    assert "from prefect" in text
    return text.replace("from prefect", "from dask_flow")


def side(text, theirs):
    """Return one side of a text with merge conflicts."""
    lines, where = [], None
    for line in text.splitlines():
        marker = line[:7]
        if marker in ("<<<<<<<", "=======", ">>>>>>>"):
            where = {"<<<<<<<": False, "=======": True, ">>>>>>>": None}[marker]
        elif where in (None, theirs):
            lines.append(line)
    return "\n".join(lines) + "\n"
