"""A Prefect 3 flow as it is: which of some cities' days were warm. The image needs Prefect 3 and prefect-dask."""

from prefect import flow, get_run_logger, task, unmapped


@task
def forecast(city: str) -> dict:
    return {"city": city, "degrees": 5 * (len(city) % 7)}


@task(retries=2)
def warm(day: dict, limit: float) -> str | None:
    get_run_logger().info("%s: %s degrees", day["city"], day["degrees"])
    return day["city"] if day["degrees"] > limit else None


@flow(name="weather")
def weather(cities: tuple[str, ...] = ("Oslo", "Nairobi", "Lima", "Singapore"), limit: float = 15) -> str:
    days = forecast.map(cities)
    found = warm.map(days, limit=unmapped(limit)).result()
    return "warm: " + ", ".join(city for city in found if city)


if __name__ == "__main__":
    print(weather())
