"""Requests to an API server that is away, busy or refuses."""

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import urllib3
from dask_flow.errors import InputError, StartupError
from dask_flow.kube import Kube, NotFoundError, Server
from dask_flow.kube_refusals import UnknownKindError

POD = {"metadata": {"name": "w-0"}}
CONFLICT = {"message": "Operation cannot be fulfilled on resourcequotas", "reason": "Conflict"}
ELECTION = {"message": "etcdserver: leader changed"}
EXISTS = {"message": 'pods "w-0" already exists', "reason": "AlreadyExists"}
FORBIDDEN = {
    "message": 'pods is forbidden: User "system:serviceaccount:jobs:r" cannot create resource "pods" in API group "" '
    'in the namespace "jobs"',
    "reason": "Forbidden",
}


@pytest.fixture
def server():
    """Answers with what `answers` has, one after another: (status, body), and how many bytes of it are missing.

    Or with what `answers` returns for a request's body.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked, answers = json.loads(self.rfile.read(int(self.headers["Content-Length"]))), self.server.answers
            self.server.bodies.append(asked)
            status, body, *missing = answers(asked) if callable(answers) else answers.pop(0)
            self.server.asked.append((self.path, self.headers["Authorization"]))
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", len(text) + sum(missing))
            self.end_headers()
            self.wfile.write(text)

        def do_GET(self):
            self.server.asked.append((self.path, self.headers["Authorization"]))
            self.send_response(self.server.status)
            self.end_headers()
            for line in self.server.answers.pop(0):
                self.wfile.write(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n")

        def log_message(self, *_):
            pass

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.asked, made.bodies, made.status = [], [], 200
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def kube(server, patience_seconds=5):
    url = f"http://127.0.0.1:{server.server_port}"
    return Kube(Server(urllib3.PoolManager(), url, lambda: "Bearer t"), "jobs", patience_seconds)


@pytest.mark.parametrize(
    "refusal",
    [
        (503, {"message": "starting"}),
        (429, {"message": "slow down"}),
        (409, CONFLICT),
        (403, FORBIDDEN),
        (500, ELECTION),
        (418, {"message": "teapot"}, 7),
    ],
)
def test_request_is_repeated_while_the_server_is_away_busy_or_breaks_off_or_has_not_read_its_roles(server, refusal):
    server.answers = [refusal, refusal, (201, POD)]

    kube(server).create_pods([POD])

    assert server.asked == [("/api/v1/namespaces/jobs/pods", "Bearer t")] * 3


def test_repeated_request_for_a_pod_that_is_there_is_done(server):
    server.answers = [(409, EXISTS)]

    kube(server).create_pods([POD])

    assert len(server.asked) == 1


def test_watch_lists_again_after_an_interruption_and_says_what_went_meanwhile(server):
    def listed(*names):
        return [{"items": [{"metadata": {"name": name}} for name in names], "metadata": {"resourceVersion": "7"}}]

    def event(kind, name):
        return {"type": kind, "object": {"metadata": {"name": name}}}

    gone = {"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}}
    server.answers = [listed("a", "b"), [event("MODIFIED", "a"), event("DELETED", "a"), gone], listed("c"), []]
    stop = threading.Event()

    seen = []
    for kind, pod in kube(server).watch_pods("x=y", stop):
        seen.append((kind, pod["metadata"]["name"]))
        if pod["metadata"]["name"] == "c":
            stop.set()

    assert sorted(seen[:2]) == [("ADDED", "a"), ("ADDED", "b")]
    assert seen[2:] == [("MODIFIED", "a"), ("DELETED", "a"), ("DELETED", "b"), ("ADDED", "c")]
    assert "labelSelector=x%3Dy&resourceVersion=7&watch=true" in server.asked[1][0]


def warning(uid, version, kind="ADDED"):
    metadata = {"uid": uid, "resourceVersion": str(version)}
    return {"type": kind, "object": {"metadata": metadata, "reason": "FailedMount"}}


@pytest.mark.parametrize(
    "ends",
    [{"type": "ERROR", "object": {"code": 410, "message": "too old"}}, b"null\n", b"no JSON"],
    ids=["gone", "not-an-event", "broken-off"],
)
def test_warning_is_told_once_and_again_when_it_happens_again(server, ends):
    mark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}}
    server.answers = [
        [warning("a", 3), warning("b", 5), mark],
        [warning("a", 11, "DELETED"), ends],  # it is an hour old
        [warning("b", 5), warning("b", 12, "MODIFIED"), warning("c", 13)],
    ]
    stop, told = threading.Event(), []

    for event in kube(server).watch_warnings(stop):
        told.append((event["metadata"]["uid"], event["metadata"]["resourceVersion"]))
        if event["metadata"]["uid"] == "c":
            stop.set()

    assert told == [("a", "3"), ("b", "5"), ("b", "12"), ("c", "13")]
    assert ["resourceVersion=9" in path for path, _ in server.asked] == [False, True, False]


def test_watch_of_warnings_that_is_refused_is_said(server, caplog):
    server.status = 403
    server.answers = [[FORBIDDEN | {"message": FORBIDDEN["message"].replace("create", "watch")}]]

    assert list(kube(server, patience_seconds=0).watch_warnings(threading.Event())) == []
    assert "why volumes cannot be mounted will not be told: system:serviceaccount:jobs:r may not watch" in caplog.text


def refuse(server, *refused):
    """Have the server refuse pods of these names, and return twenty pods, 0 to 19."""
    no_room = (403, {"message": "exceeded quota"})
    server.answers = lambda pod: no_room if int(pod["metadata"]["name"]) in refused else (201, pod)
    return [{"metadata": {"name": str(number)}} for number in range(20)]


def test_pods_that_are_refused_are_named(server):
    pods = refuse(server, 1, 3, 19)

    assert kube(server).create_pods(pods).keys() == {"1", "3", "19"}
    assert len(server.bodies) == 20


def test_no_more_pods_are_asked_for_when_the_first_few_are_refused(server):
    pods = refuse(server, *range(20))

    with pytest.raises(StartupError, match="exceeded quota"):
        kube(server).create_pods(pods)
    assert {pod["metadata"]["name"] for pod in server.bodies} == {str(number) for number in range(8)}


def test_log_of_a_container_is_had_as_it_is(server):
    server.answers = [[b"one\ntwo \xff\n"], [b"before\n"]]

    assert kube(server).log("w-0", "worker") == b"one\ntwo \xff\n"
    assert kube(server).log("w-0", None, previous=True) == b"before\n"
    assert server.asked[0][0].startswith("/api/v1/namespaces/jobs/pods/w-0/log?tailLines=")
    assert server.asked[0][0].endswith("&container=worker")
    assert server.asked[1][0].endswith("&previous=true")


def test_log_is_asked_for_once():
    client = Kube(Server(urllib3.PoolManager(), "http://127.0.0.1:1", lambda: None), "jobs")

    with pytest.raises(StartupError, match="the log of pod w-0 cannot be had: "):
        client.log("w-0", "worker")


def test_right_to_a_part_of_objects_is_asked_for_as_such(server):
    server.answers = [(201, {"status": {"allowed": True}})]

    assert kube(server).may("get", "pods/log")

    attributes = server.bodies[0]["spec"]["resourceAttributes"]
    assert (attributes["resource"], attributes["subresource"]) == ("pods", "log")


def test_no_request_is_repeated_after_the_deadline(server):
    server.answers = [(503, {"message": "starting"})]
    client = kube(server)
    client.give_up_in(0)

    with pytest.raises(StartupError, match="the Kubernetes API refused POST pods with status 503"):
        client.create_pods([POD])


def test_server_that_is_not_there_is_a_startup_error():
    client = Kube(Server(urllib3.PoolManager(), "http://127.0.0.1:1", lambda: None), "jobs", patience_seconds=0)

    with pytest.raises(StartupError, match="the Kubernetes API cannot be reached: "):
        client.create_pods([POD])


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        ((422, {"message": "spec.x: Invalid value"}), InputError, "not valid: spec.x: Invalid value"),
        ((418, {"message": "teapot"}), StartupError, "refused POST pods with status 418: teapot"),
    ],
)
def test_refusal_is_an_error_of_its_kind_at_once(server, answer, kind, message):
    server.answers = [answer]

    with pytest.raises(kind, match=message):
        kube(server).create_pods([POD])

    assert len(server.asked) == 1


def test_fault_of_the_servers_own_that_stays_is_said_after_a_while(server, monkeypatch):
    monkeypatch.setattr("dask_flow.kube.FAULT_SECONDS", 0.5)
    server.answers = [(500, {"message": "failed calling webhook"})] * 3

    with pytest.raises(StartupError, match="refused POST pods with status 500: failed calling webhook"):
        kube(server, patience_seconds=60).create_pods([POD])


def test_silent_connections_are_noticed(tmp_path, monkeypatch):
    for name in ("token", "namespace"):
        (tmp_path / name).write_text("jobs")
    monkeypatch.setattr("dask_flow.kube.SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")

    pool = Kube.in_cluster()._server.http.connection_from_url("http://127.0.0.1:1")

    assert (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1) in pool.conn_kw["socket_options"]


def test_lack_of_a_role_is_said_with_the_way_out(server):
    server.answers = [(403, FORBIDDEN)]

    with pytest.raises(StartupError, match="serviceaccount:jobs:r may not create pods in namespace jobs; a Role must"):
        kube(server, patience_seconds=0).create_pods([POD])


def test_role_of_the_operators_mode_is_named_where_that_is_missing(server):
    message = FORBIDDEN["message"].replace(
        '"pods" in API group ""', '"daskclusters" in API group "kubernetes.dask.org"'
    )
    server.answers = [(403, {"message": message, "reason": "Forbidden"})]

    with pytest.raises(
        StartupError, match=r"may not create daskclusters in .*rbac\.create=true, cluster\.mode=operator\)"
    ):
        kube(server, patience_seconds=0).create("daskclusters.kubernetes.dask.org", {})

    assert server.asked[0][0] == "/apis/kubernetes.dask.org/v1/namespaces/jobs/daskclusters"


@pytest.mark.parametrize(("body", "unknown"), [({}, True), ({"message": "x", "reason": "NotFound"}, False)])
def test_kind_that_is_not_known_is_told_from_an_object_that_is_not_there(server, body, unknown):
    server.answers = [(404, body)]

    with pytest.raises(NotFoundError) as raised:
        kube(server).create("daskclusters.kubernetes.dask.org", {}, strict=True)

    assert isinstance(raised.value, UnknownKindError) is unknown
    assert server.asked[0][0].endswith("/daskclusters?fieldValidation=Strict")
