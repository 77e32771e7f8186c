"""Check orders one by one, retry what fails at random, and report only if something is to be reported.

Written for Prefect 1 and run here with nothing but its imports changed.
"""

import random
from datetime import timedelta

from dask_flow import Flow, Parameter, case, context, task, unmapped
from dask_flow.tasks.control_flow import merge
from dask_flow.triggers import all_finished


@task
def orders(count):
    return [{"number": number, "amount": number * 7 % 100} for number in range(count)]


@task(max_retries=5, retry_delay=timedelta(milliseconds=50))
def checked(order, limit):
    if random.random() < 0.1:  # noqa: PLR2004, S311
        raise ConnectionError(f"no answer for order {order['number']}")
    return order["amount"] > limit


@task
def suspicious(flags):
    return sum(flags)


@task
def any_of(number):
    return number > 0


@task(log_stdout=True)
def report(number):
    print(f"{number} orders of {context.parameters['count']} are to be looked at")
    return f"reported {number}"


@task
def nothing():
    return "nothing to report"


@task(trigger=all_finished)
def close():
    context.logger.info("closed")


with Flow("orders") as flow:
    count, limit = Parameter("count", default=1000), Parameter("limit", default=90)
    number = suspicious(checked.map(orders(count), unmapped(limit)))
    found = any_of(number)
    with case(found, True):
        reported = report(number)
    with case(found, False):
        silent = nothing()
    end = merge(reported, silent)
    end.name = "end"
    close(upstream_tasks=[end])
