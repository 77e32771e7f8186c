"""A cluster that is there already: what a run sees at its address, and what it leaves there."""

import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import dask
import pytest
from dask_flow.clusters.dask_logs import scheduler_log
from dask_flow.clusters.static import cluster
from dask_flow.clusters.versions import mismatches
from dask_flow.errors import InputError, StartupError
from dask_flow.history import History
from dask_flow.settings import RunSettings
from dask_flow.tls import KeyPair
from distributed import LocalCluster

FLOWS = {
    "function": "import time, pathlib\n"
    "def wait():\n    pathlib.Path({running!r}).touch()\n    time.sleep(600)\n"
    "def main(client):\n    return client.submit(wait).result()\n",
    "flow": "import time, pathlib\nfrom dask_flow import Flow, task\n"
    "@task\ndef wait(n):\n    pathlib.Path({running!r}).touch()\n    time.sleep(600)\n"
    "with Flow('f') as flow:\n    wait.map([1, 2])\n",
    "function-that-wraps": "import time, pathlib\n"
    "def wait():\n    pathlib.Path({running!r}).touch()\n    time.sleep(600)\n"
    "def main(client):\n    try:\n        return client.submit(wait).result()\n"
    "    except BaseException as error:\n        raise ValueError('no result') from error\n",
    "function-without-futures": "import time, pathlib\n"
    "def main(client):\n    pathlib.Path({running!r}).touch()\n"
    "    while client.status == 'running':\n        time.sleep(0.05)\n"
    "    while client.status == 'connecting':\n        time.sleep(0.05)\n"
    "    if client.status == 'running':\n        raise ModuleNotFoundError('what the run had sent along')\n"
    "    return client.submit(abs, -1).result()\n",
    "function-that-waits": "import time, pathlib\n"
    "def main(client):\n    pathlib.Path({running!r}).touch()\n    time.sleep(600)\n",
}
# The last one goes on when the scheduler is back, as it asks nothing of it.
LOSSES = [(kind, back) for kind in FLOWS for back in ("at-once", "never")]
LOSSES.remove(("function-that-waits", "at-once"))


def settings(address, **given):
    given = {"startup_timeout": 4.0, "tls": address.startswith("tls"), **given}
    return RunSettings(target="flow.py", cluster="static", address=address, **given)


@contextmanager
def opened(address, **given):
    with ExitStack() as stack:
        yield cluster(stack, settings(address, **given), History(), lambda _: None)


def keys(pair, folder):
    """Return Dask's configuration of a client that identifies itself by this key pair."""
    folder.mkdir()
    (folder / "tls.crt").write_text(pair.certificate)
    (folder / "tls.key").write_text(pair.key)
    role = {"cert": str(folder / "tls.crt"), "key": str(folder / "tls.key")}
    return {"distributed.comm.tls.ca-file": role["cert"]} | {
        f"distributed.comm.tls.client.{name}": path for name, path in role.items()
    }


@pytest.fixture
def scheduler():
    """Make schedulers with one worker or none, each with its own settings; yield the function that does so."""
    made = []

    def make(n_workers=1, **given):
        made.append(
            LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=":0", host="127.0.0.1", **given)
        )
        return made[-1].scheduler_address

    yield make
    for each in made:
        each.close()


def unused_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Processes:
    """A scheduler and a worker in processes of their own, at an address that stays."""

    def __init__(self):
        self.port = unused_port()
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.started = []

    def start(self, name, *args):
        line = [sys.executable, "-m", f"distributed.cli.dask_{name}", *args]
        self.started.append(subprocess.Popen(line, stderr=subprocess.DEVNULL))

    def start_scheduler(self):
        self.start("scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--dashboard-address", "127.0.0.1:0")

    def start_worker(self):
        self.start("worker", self.address, "--no-nanny", "--nthreads", "1", "--no-dashboard")

    def kill_scheduler(self):
        self.started[0].kill()
        self.started[0].wait()


@pytest.fixture
def processes():
    made = Processes()
    yield made
    for each in made.started:
        each.kill()
        each.wait()


@pytest.fixture
def web_server():
    class Greeting(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Greeting) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture
def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but it does not listen
        yield taken.getsockname()[1]


def test_run_leaves_the_cluster_as_it_was(scheduler):
    address = scheduler()

    for _ in range(2):
        with opened(address) as client:
            assert client.submit(abs, -1).result() == 1

    with opened(address) as client:
        assert len(client.nthreads()) == 1


def test_name_that_does_not_resolve_is_said():
    with pytest.raises(
        StartupError, match=r"no Dask scheduler at tcp://no\.such\.host\.invalid:8786 after 4 s: the name"
    ):
        opened("tcp://no.such.host.invalid:8786").__enter__()


def test_refused_connection_is_said(free_port):
    with pytest.raises(StartupError, match="after 4 s: the connection was refused: nothing listens there"):
        opened(f"tcp://127.0.0.1:{free_port}").__enter__()


def test_server_of_another_kind_is_said(web_server):
    with pytest.raises(StartupError, match="after 4 s: nothing answers there as a Dask scheduler does"):
        opened(f"tcp://127.0.0.1:{web_server}").__enter__()


def test_scheduler_that_comes_later_is_waited_for(processes):
    given = {"startup_timeout": 60.0}

    threading.Timer(0.5, processes.start_scheduler).start()
    threading.Timer(1.0, processes.start_worker).start()
    with opened(processes.address, **given) as client:
        assert client.submit(abs, -2).result() == 2


def test_lack_of_workers_is_said_with_their_number(scheduler):
    address = scheduler(1)

    with pytest.raises(StartupError, match=rf"{address} has 1 of 2 workers after 4 s; start workers there"):
        opened(address, min_workers=2).__enter__()


@pytest.fixture
def tls_scheduler(scheduler):
    pair = KeyPair.generate()
    return pair, scheduler(1, security=pair.security(), protocol="tls")


def test_tls_cluster_takes_a_client_with_its_keys(tls_scheduler, tmp_path):
    pair, address = tls_scheduler

    with dask.config.set(keys(pair, tmp_path / "keys")), opened(address) as client:
        assert client.submit(abs, -3).result() == 3


def test_tls_address_without_keys_is_bad_input(tls_scheduler):
    with pytest.raises(InputError, match="needs a key pair; name its files in DASK_DISTRIBUTED__COMM__TLS__CA_FILE, "):
        opened(tls_scheduler[1]).__enter__()


def test_keys_that_cannot_be_read_are_bad_input(tls_scheduler, tmp_path):
    pair, address = tls_scheduler
    configuration = keys(pair, tmp_path / "keys")
    (tmp_path / "keys/tls.key").unlink()

    with (
        dask.config.set(configuration),
        pytest.raises(InputError, match=r"key pair for .* cannot be used.*No such file"),
    ):
        opened(address).__enter__()


def test_strangers_certificate_is_refused_at_once(tls_scheduler, tmp_path):
    _, address = tls_scheduler

    with (
        dask.config.set(keys(KeyPair.generate(), tmp_path / "keys")),
        pytest.raises(StartupError, match=f"no Dask scheduler at {address}: its certificate is not from the CA"),
    ):
        opened(address, startup_timeout=60.0).__enter__()


def test_plain_client_of_a_tls_scheduler_is_told(tls_scheduler):
    address = tls_scheduler[1].replace("tls://", "tcp://")

    with pytest.raises(StartupError, match=r"the other side closed the connection; does it speak tls://\?"):
        opened(address).__enter__()


def test_tls_client_of_a_plain_scheduler_is_told_at_once(scheduler, tmp_path):
    address = scheduler().replace("tcp://", "tls://")

    with (
        dask.config.set(keys(KeyPair.generate(), tmp_path / "keys")),
        pytest.raises(StartupError, match="does the scheduler speak plain tcp://"),
    ):
        opened(address, startup_timeout=60.0).__enter__()


@pytest.mark.parametrize(("kind", "back"), LOSSES)
def test_scheduler_that_is_killed_in_mid_run_is_a_lost_cluster(processes, tmp_path, kind, back):
    processes.start_scheduler()
    processes.start_worker()
    running = tmp_path / "running"
    (tmp_path / "flow.py").write_text(FLOWS[kind].format(running=str(running)))
    line = ["run", str(tmp_path / "flow.py"), "--address", processes.address]

    with subprocess.Popen([sys.executable, "-m", "dask_flow", *line], stderr=subprocess.PIPE, text=True) as runner:
        while not running.exists():
            assert runner.poll() is None, runner.stderr.read()
            time.sleep(0.05)
        processes.kill_scheduler()
        if back == "at-once":
            processes.start_scheduler()
        _, log = runner.communicate(timeout=120)

    assert runner.returncode == 4, log
    assert "the connection to the Dask scheduler was lost while the flow ran" in log.splitlines()[-1]
    assert "Traceback" not in log


def test_scheduler_that_does_not_give_its_log_is_a_warning(scheduler, caplog):
    address = scheduler(scheduler_kwargs={"blocked_handlers": ["logs"]})

    with opened(address) as client:
        lines = scheduler_log(client)

    assert lines == []
    assert "the scheduler's log cannot be had: ValueError: The 'logs' handler has been explicitly" in caplog.text


def test_own_version_may_be_missing_but_not_differ():
    def versions(own):
        return {"packages": {"python": "3.13.1.final.0", "dask": "1", "dask-flow": own}}

    assert mismatches(versions("0.1.0"), versions(None), [versions(None), versions("0.1.0")]) == []
    assert mismatches(versions("0.1.0"), versions("0.1.0"), [versions("0.2.0"), versions(None)]) == [
        ("dask-flow", "0.1.0", "0.1.0", "0.2.0, none")
    ]


def status_of(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def wait_for(condition):
    while not condition():
        time.sleep(0.05)


@pytest.fixture
def loaded(processes):
    """Return a function that starts a worker with the preload, and returns its process and HTTP port."""

    def start(address):
        port = unused_port()
        options = ("--no-nanny", "--preload", "dask_flow.clusters.preload", "--dashboard-address", f"127.0.0.1:{port}")
        processes.start("worker", address, *options)
        wait_for(lambda: status_of(port, "/health") == 200)
        return processes.started[-1], port

    return start


def test_worker_is_ready_when_it_has_joined(processes, loaded):
    _, port = loaded(processes.address)
    assert status_of(port, "/ready") == 503

    processes.start_scheduler()

    wait_for(lambda: status_of(port, "/ready") == 200)


def test_worker_that_is_told_to_end_before_it_joined_does_so(loaded):
    worker, _ = loaded("tcp://127.0.0.1:9")

    worker.terminate()

    assert worker.wait(timeout=20) == 0


def test_worker_that_is_told_to_end_hands_over_its_results(processes, loaded):
    processes.start_scheduler()
    first, port = loaded(processes.address)
    wait_for(lambda: status_of(port, "/ready") == 200)
    with opened(processes.address, startup_timeout=60.0) as client:
        future = client.submit(uuid.uuid4)
        made = future.result()
        _, port = loaded(processes.address)
        wait_for(lambda: status_of(port, "/ready") == 200)

        first.terminate()

        assert first.wait(timeout=60) == 0
        assert future.result() == made  # another run would make another one
