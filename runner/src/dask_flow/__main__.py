"""`python -m dask_flow` is `dask-flow`."""

from dask_flow.cli import main

main()
