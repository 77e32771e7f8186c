"""A Prefect 1 flow as it is: which of some cities' days were warm. The image needs Prefect 1.4.1."""

from prefect import Flow, Parameter, task, unmapped


@task
def forecast(cities):
    return [{"city": city, "degrees": 5 * (len(city) % 7)} for city in cities]


@task(log_stdout=True)
def warm(day, limit):
    print(f"{day['city']}: {day['degrees']} degrees")
    return day["city"] if day["degrees"] > limit else None


@task
def report(cities):
    return "warm: " + ", ".join(city for city in cities if city)


with Flow("weather") as flow:
    cities = Parameter("cities", default=["Oslo", "Nairobi", "Lima", "Singapore"])
    limit = Parameter("limit", default=15)
    report(warm.map(forecast(cities), unmapped(limit)))
