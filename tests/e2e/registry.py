"""The distribution registry of tests/registry, on this machine, for one user with a password."""

import base64
import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from http import HTTPStatus

import pytest
from namespaces import ROOT, run

USER, PASSWORD = "robot", "open-sesame"
# `htpasswd -nbB robot open-sesame`
HTPASSWD = "robot:$2a$04$rbu.kj6H4g95W06hawEdoOMtOQ81xRdVSmHAzn38jYotilihqPxWK\n"


class Registry:
    """A registry that runs; `host` is what names of its images begin with."""

    def __init__(self, folder):
        self._folder = folder
        self.host = f"127.0.0.1:{_free_port()}"
        (folder / "htpasswd").write_text(HTPASSWD)
        (folder / "config.yaml").write_text(
            json.dumps(
                {
                    "version": 0.1,
                    "log": {"level": "warn", "accesslog": {"disabled": True}},
                    "storage": {"filesystem": {"rootdirectory": str(folder / "images")}},
                    "http": {"addr": self.host},
                    "auth": {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}},
                }
            )
        )

    def __enter__(self):
        program = run(ROOT / "tests/registry/build", timeout=1200).stdout.strip()
        with (self._folder / "log").open("w") as log:
            self._process = subprocess.Popen([program, "serve", self._folder / "config.yaml"], stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while not self._refuses():
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail((self._folder / "log").read_text())
            time.sleep(0.1)
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(30)

    def _refuses(self):
        """Return whether it answers, to who has no password, that one is needed."""
        try:
            urllib.request.urlopen(f"http://{self.host}/v2/")
        except urllib.error.HTTPError as error:
            return error.code == HTTPStatus.UNAUTHORIZED
        except OSError:
            return False
        return False

    def login(self, password=PASSWORD):
        """Return the environment of who has logged in, with this password."""
        path = self._folder / f"auth-{'right' if password == PASSWORD else 'wrong'}.json"
        word = base64.b64encode(f"{USER}:{password}".encode()).decode()
        path.write_text(json.dumps({"auths": {self.host: {"auth": word}}}))
        return {"REGISTRY_AUTH_FILE": str(path)}


def _free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
