"""What a target names: a flow, a function or a script, in a file, a module, or a file at a URL."""

from dask_flow.targets.loader import Loaded, Shipment, load, shipment

__all__ = ["Loaded", "Shipment", "load", "shipment"]
