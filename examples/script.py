"""A script as a flow: estimate pi from random points. `python examples/script.py` runs it on this machine."""

import argparse
import random

from dask.distributed import Client


def hits(seed, points):
    """Count how many points of a square are in the quarter of a circle."""
    number = random.Random(seed).random  # noqa: S311 # no secret
    return sum(number() ** 2 + number() ** 2 <= 1 for _ in range(points))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--tasks", type=int, default=10)
    args = parser.parse_args()

    points = args.points // args.tasks
    with Client() as client:  # the run's cluster, where dask-flow runs this
        found = client.submit(sum, client.map(hits, range(args.tasks), points=points)).result()
    print(f"pi is about {4 * found / (points * args.tasks):.2f}")


if __name__ == "__main__":
    main()
