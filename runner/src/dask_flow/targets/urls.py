"""Read a flow's file from a URL, by fsspec. What its URL has of user, password and query is shown nowhere."""

from __future__ import annotations

import re
from importlib.util import decode_source

from dask_flow.errors import InputError
from dask_flow.log import described

__all__ = ["fetch", "is_url", "shown"]

URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s'\"]+", re.IGNORECASE)

# What fsspec needs for a scheme, and the extra of this package that brings it.
EXTRAS = {
    "s3": ("s3", "s3fs"),
    "s3a": ("s3", "s3fs"),
    "gs": ("gs", "gcsfs"),
    "gcs": ("gs", "gcsfs"),
    "abfs": ("abfs", "adlfs"),
    "abfss": ("abfs", "adlfs"),
    "az": ("abfs", "adlfs"),
}


def is_url(text: str) -> bool:
    """Tell whether this is a URL rather than a path or a module's name."""
    return URL.match(text) is not None


def shown(url: str) -> str:
    """Return the URL as a log may have it: without user, password and query, which may be a signature."""
    scheme, _, rest = url.partition("://")
    host, slash, path = re.split(r"[?#]", rest)[0].partition("/")
    if not scheme.lower().startswith("abfs"):  # abfs://container@account/path
        host = host.rpartition("@")[2]
    return f"{scheme}://{host}{slash}{path}"


def fetch(url: str) -> str:
    """Return the text of the Python file at the URL. Raises InputError: not there, not allowed, or no such scheme."""
    import fsspec  # type: ignore[import-untyped]

    try:
        filesystem, path = fsspec.url_to_fs(url)
        return decode_source(filesystem.cat_file(path))
    except Exception as error:
        # --debug logs the chain of errors, and these may have the URL's secrets.
        raise InputError(_reason(error, url)) from (error if shown(url) == url else None)


def _reason(error: Exception, url: str) -> str:
    where = shown(url)
    extra, package = EXTRAS.get(url.partition("://")[0].lower(), ("", ""))
    if extra and isinstance(error, ImportError):
        return (
            f"{where} cannot be read without the package {package}: pip install 'dask-flow[{extra}]', or in the chart "
            f"set EXTRA_PIP_PACKAGES={package} in flow.env"
        )
    if isinstance(error, FileNotFoundError):
        return f"no such file: {where}"
    if isinstance(error, UnicodeDecodeError | SyntaxError):
        return f"{where} is not a Python file: {error}"
    return f"{where} cannot be read: {URL.sub(lambda found: shown(found[0]), described(error))}"
