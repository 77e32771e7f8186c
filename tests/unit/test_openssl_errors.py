import subprocess
import sys

TWO_CONNECTIONS = """
import ctypes, errno, socket, ssl, sys
from dask_flow.clusters.openssl_errors import keep_connections_apart

class Failing(ssl.SSLSocket):
    pass

def broken(*args):
    raise BrokenPipeError(errno.EPIPE, "Broken pipe")

cleared = []
class Context:
    def wrap_bio(self, *args, **kwargs):
        cleared.append(True)

ssl.SSLSocket.read = broken
ssl.SSLContext = lambda protocol: Context()
keep_connections_apart()
keep_connections_apart()
try:
    ssl.SSLSocket.read(None)
except BrokenPipeError:
    print("raised, cleared", len(cleared))
"""


def test_a_system_error_is_raised_and_cleared_once():
    done = subprocess.run([sys.executable, "-c", TWO_CONNECTIONS], capture_output=True, text=True, check=False)

    assert done.stdout == "raised, cleared 1\n", done.stderr
