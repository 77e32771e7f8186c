import pytest
import yaml
from rendering import CHART, Chart, chart_with_operator


@pytest.fixture(scope="session")
def chart():
    return Chart()


@pytest.fixture(scope="session")
def dependency():
    """What Chart.yaml says of the Dask operator's chart."""
    return yaml.safe_load((CHART / "Chart.yaml").read_text())["dependencies"][0]


@pytest.fixture(scope="session")
def complete_chart(tmp_path_factory, dependency):
    """The chart as it is after `helm dependency build`."""
    return Chart(chart_with_operator(tmp_path_factory.mktemp("chart"), dependency["version"]))
