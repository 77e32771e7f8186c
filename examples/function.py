"""A function as a flow: `client` is the run's Dask client, the other arguments are parameters."""


def primes(first, step):
    """Count the primes among `step` numbers from `first` on."""
    numbers = range(max(first, 2), first + step)
    return sum(all(number % divisor for divisor in range(2, int(number**0.5) + 1)) for number in numbers)


def main(client, limit: int = 100_000, parts: int = 10):
    step = -(-limit // parts)
    counts = client.map(primes, range(0, limit, step), step=step)
    return client.submit(sum, counts)
