import pytest
from rendering import Chart


@pytest.fixture(scope="session")
def chart():
    return Chart()
