"""What a registry says of an image's digest, whatever login it wants."""

import base64
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from dask_flow.remote import digest
from dask_flow.remote.digest import by_digest

DIGEST = f"sha256:{'0' * 64}"
BASIC = f"Basic {base64.b64encode(b'robot:secret').decode()}"


class Registry(BaseHTTPRequestHandler):
    """Has one image, team/flow:1; `wants` is what it takes: nothing, a login, or a token that one gets for it."""

    def do_HEAD(self):
        given = self.headers.get("Authorization")
        if given not in {"": (None,), "basic": (BASIC,), "bearer": ("Bearer t1",)}[self.server.wants]:
            self.send_response(401)
            host = f"http://127.0.0.1:{self.server.server_port}"
            scope = f'Bearer realm="{host}/token",service="r",scope="repository:team/flow:pull"'
            self.send_header("WWW-Authenticate", scope if self.server.wants == "bearer" else 'Basic realm="r"')
        elif self.path != "/v2/team/flow/manifests/1" or "oci.image.index" not in self.headers["Accept"]:
            self.send_response(404)
        else:
            self.send_response(200)
            self.send_header("Docker-Content-Digest", DIGEST)
        self.end_headers()

    def do_GET(self):
        good = self.headers.get("Authorization") == BASIC and "scope=repository" in self.path
        self.send_response(200 if good else 401)
        self.end_headers()
        self.wfile.write(json.dumps({"token": "t1"} if good else {"errors": []}).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def registry():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def login(tmp_path):
    return {"HOME": str(tmp_path), "DOCKER_USERNAME": "robot", "DOCKER_PASSWORD": "secret"}


@pytest.mark.parametrize("wants", ["", "basic", "bearer"])
def test_image_is_named_by_the_digest_of_its_tag(registry, login, wants):
    registry.wants = wants
    image = f"127.0.0.1:{registry.server_port}/team/flow"

    assert by_digest(f"{image}:1", login) == f"{image}@{DIGEST}"


@pytest.mark.parametrize(
    "case",
    [("", "2", "status 404"), ("basic", "1", "it wants a login"), ("bearer", "1", "access_token")],
)
def test_image_stays_named_by_its_tag_where_the_registry_does_not_tell(registry, tmp_path, caplog, case):
    registry.wants, tag, said = case
    image = f"127.0.0.1:{registry.server_port}/team/flow:{tag}"

    with caplog.at_level("INFO", "dask_flow"):
        assert by_digest(image, {"HOME": str(tmp_path)}) == image

    assert said in caplog.text


@pytest.mark.parametrize("image", ["team/flow", "docker.io/team/flow"])
def test_docker_hub_is_asked_at_its_api(registry, login, image, monkeypatch):
    monkeypatch.setattr(digest, "DOCKER_HUB_API", f"127.0.0.1:{registry.server_port}")
    registry.wants = "bearer"

    assert by_digest(f"{image}:1", login) == f"{image}@{DIGEST}"


@pytest.mark.parametrize("image", ["flow:1", "localhost/flow:1", f"r.example.org/flow@{DIGEST}"])
def test_image_that_was_not_pushed_or_has_its_digest_stays_as_it_is(image, tmp_path):
    assert by_digest(image, {"HOME": str(tmp_path)}) == image


def test_asking_a_registry_imports_nothing_that_builds_images():
    code = "import sys, dask_flow.remote.digest; print([m for m in ('jinja2', 'dask_flow.images') if m in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_registry_that_is_away_costs_no_more_than_a_line(tmp_path, caplog):
    with caplog.at_level("INFO", "dask_flow"):
        assert by_digest("127.0.0.1:9/flow:1", {"HOME": str(tmp_path)}) == "127.0.0.1:9/flow:1"

    assert "127.0.0.1:9/flow:1 is named by its tag" in caplog.text
