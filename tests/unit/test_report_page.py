"""The report's page in a real browser: both themes, any width, and nothing asked of the network."""

import functools
import itertools
import json
import shutil
import subprocess
import threading
import time
import urllib.request
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import websocket
from dask_flow import Flow, task
from dask_flow.flows import FlowResult
from dask_flow.history import History, Seen, Step
from dask_flow.report import Outcome
from dask_flow.report.tasks import group_tasks
from dask_flow.report.workers import workers_of
from dask_flow.report.writing import RunReport
from dask_flow.settings import RunSettings

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: make browser")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Write the report of a run with all that a page can have, and return its folder."""

    @task
    def load(n):
        return n

    with Flow("nightly & <b>bold</b>") as flow:
        load(load(1))
    made, place = History(), tmp_path_factory.mktemp("reports")
    made.began, made.flow = 100.0, flow
    made.settings = RunSettings(target="flow.py", flow=flow.name, cluster="pods", params={"country": "NO" * 200})
    made.steps = [Step("flow loaded", 100, 1), Step("flow ran", 102, 20), Step("worker pods gone", 122, 3, done=False)]
    compute = {"action": "compute", "start": 103, "stop": 110}
    stream = [
        {"key": f"load-{n}", "worker": "tcp://a:1", "thread": 1, "status": "OK", "startstops": [compute]}
        for n in (1, 2)
    ]
    made.seen = Seen(stream, {"tcp://a:1": {"name": "w-0", "nthreads": 2}}, {"tcp://a:1": "w-0"})
    made.pod("w-1").ended("pod w-1: ErrImagePull: https://example.org/v2/ cannot be reached")
    made.errors = {"load": 'Traceback\n  <script src="https://example.org/x.js"></script>' + "x" * 500}
    made.result = FlowResult({}, made.errors)
    report = RunReport.to(str(place), made)
    outcome = Outcome(
        1, "the flow failed: " + "y" * 300, {"load": "<img src=https://example.org/x>"}, group_tasks(stream, {}, {})
    )
    report.write(outcome, workers_of(made), {"computing": 14.0, "idle": 6.0})
    report.close()
    (folder,) = place.iterdir()
    return folder


@pytest.fixture(scope="module")
def url(report):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=report))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/report.html"
    server.shutdown()
    thread.join()
    server.server_close()


class Tab:
    """A tab of Chromium, by the DevTools protocol."""

    def __init__(self, address):
        self.socket = websocket.create_connection(address, timeout=60)
        self.numbers = itertools.count(1)
        self.events = []

    def call(self, method, **params):
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            answer = json.loads(self.socket.recv())
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def value(self, expression):
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"]["value"]

    def wait_for(self, method):
        while not any(each["method"] == method for each in self.events):
            self.events.append(json.loads(self.socket.recv()))


@pytest.fixture
def tab(tmp_path):
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
    command += ["--remote-allow-origins=*", f"--user-data-dir={tmp_path}", "about:blank"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    file = tmp_path / "DevToolsActivePort"
    while not (file.exists() and file.read_text().count("\n") == 1):
        assert process.poll() is None
        time.sleep(0.05)
    with urllib.request.urlopen(f"http://127.0.0.1:{file.read_text().splitlines()[0]}/json") as answer:
        pages = [each for each in json.load(answer) if each["type"] == "page"]
    made = Tab(pages[0]["webSocketDebuggerUrl"])
    yield made
    made.call("Browser.close")
    made.socket.close()
    process.wait(timeout=60)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_readable_in_both_themes_and_asks_nobody_for_anything(tab, url, scheme, tmp_path):
    tab.call("Network.enable")
    tab.call("Page.enable")
    tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    tab.call("Page.navigate", url=url)
    tab.wait_for("Page.loadEventFired")

    asked = [each["params"]["request"]["url"] for each in tab.events if each["method"] == "Network.requestWillBeSent"]
    assert asked == [url]
    colours = "(style => [style.color, style.backgroundColor])(getComputedStyle(document.body))"
    ink, paper = (sum(map(int, text[4:-1].split(", "))) for text in tab.value(colours))
    assert (ink < paper) == (scheme == "light")
    assert abs(ink - paper) > 500
    assert tab.value("document.images.length + document.scripts.length") == 0
    assert tab.value("document.querySelector('h1').textContent") == "nightly & <b>bold</b>"


@pytest.mark.parametrize("width", [400, 1280])
def test_page_needs_no_scrolling_sideways(tab, url, width):
    tab.call("Page.enable")
    tab.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)

    tab.call("Page.navigate", url=url)
    tab.wait_for("Page.loadEventFired")

    assert tab.value("document.documentElement.scrollWidth") <= width


def test_files_of_the_page_are_there(report):
    links = (report / "report.html").read_text().split('<a href="')[1:]
    names = [each.partition('"')[0] for each in links if not each.startswith("#")]

    assert {"report.json", "logs/runner.log"} <= set(names)
    assert [name for name in names if not (report / name).exists()] == []
