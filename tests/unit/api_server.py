"""A little of an API server in memory: objects by path, and refusals on demand."""

import functools
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import yaml

OBJECT = re.compile(r"(/api/v1|/apis/[^/]+/v1)(/namespaces/([^/]+))?/([a-z]+)(/([^/]+))?(/log)?")
MARK = [{"name": "DASK_FLOW_POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]


class Api:
    """What is in the cluster, and what was asked. `refusals` has (status, message) by (method, kind)."""

    def __init__(self):
        self.objects, self.asked, self.refusals, self.logs = {}, [], {}, {}
        self.namespaces = {"jobs", "default"}
        self.on_create, self.on_get = {}, {}

    def add(self, kind, made, namespace="jobs"):
        metadata = made.setdefault("metadata", {})
        metadata.setdefault("namespace", namespace)
        metadata.setdefault("uid", f"uid-{len(self.objects)}")
        metadata.setdefault("creationTimestamp", "2026-01-01T00:00:00Z")
        self.objects[kind, metadata["namespace"], metadata["name"]] = made
        return made

    def get(self, kind, name, namespace="jobs"):
        return self.objects.get((kind, namespace, name))

    def answer(self, method, path, query, body):
        if path.startswith("/api/v1/namespaces/") and path.count("/") == 4:
            there = path.rpartition("/")[2] in self.namespaces
            return (200, {}) if there else (404, failure("namespaces not found", "NotFound"))
        found = OBJECT.fullmatch(path)
        namespace, kind, name = found[3], found[4], found[6]
        self.asked.append((method, kind, name))
        if (method, kind) in self.refusals:
            status, message = self.refusals[method, kind]
            return status, failure(message, {403: "Forbidden"}.get(status, "Failed"))
        if found[7]:
            log = self.logs.get(name, "")
            log = log(query) if callable(log) else log
            return (log[0], failure(log[1], "Failed")) if isinstance(log, tuple) else (200, log)
        return {"GET": self.get_, "POST": self.post, "PATCH": self.patch, "DELETE": self.delete}[method](
            kind, namespace, name, query, body
        )

    def get_(self, kind, namespace, name, query, body):
        if name is None:
            wanted, fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
            items = [
                each
                for (its, where, _), each in self.objects.items()
                if its == kind and namespace in (None, where) and matches(each, wanted) and has_fields(each, fields)
            ]
            return 200, {"items": items, "metadata": {"resourceVersion": "1"}}
        self.on_get.get(kind, lambda: None)()
        found = self.get(kind, name, namespace)
        return (200, found) if found else (404, failure(f'{kind} "{name}" not found', "NotFound"))

    def post(self, kind, namespace, name, query, body):
        name = body["metadata"]["name"]
        if self.get(kind, name, namespace):
            return 409, failure(f'{kind} "{name}" already exists', "AlreadyExists")
        made = self.add(kind, body, namespace)
        self.on_create.get(kind, lambda _: None)(made)
        return 201, made

    def patch(self, kind, namespace, name, query, body):
        self.get(kind, name, namespace)["metadata"].update(body["metadata"])
        return 200, self.get(kind, name, namespace)

    def delete(self, kind, namespace, name, query, body):
        gone = self.objects.pop((kind, namespace, name), None)
        return (200, gone) if gone else (404, failure(f'{kind} "{name}" not found', "NotFound"))


def forbidden(verb, kind, group=""):
    """Return what an API server answers to somebody without that right."""
    return 403, (
        f'{kind} is forbidden: User "eve" cannot {verb} resource "{kind}" in API group "{group}" '
        'in the namespace "jobs"'
    )


def failure(message, reason):
    return {"kind": "Status", "message": message, "reason": reason}


def matches(each, selector):
    """Tell whether an object has all labels of a selector of the kinds `a=b` and `a in (b,c)`."""
    labels = each["metadata"].get("labels", {})
    pairs = re.findall(r"([^,=\s]+)=([^,]+)|([^,\s]+) in \(([^)]+)\)", selector)
    return all(labels.get(key or one) in (values or value).split(",") for key, value, one, values in pairs)


def has_fields(each, selector):
    """Tell whether an object has all fields of a selector, such as `involvedObject.name=a,type=Warning`."""
    pairs = (part.split("=") for part in selector.split(",") if part)
    return all(
        functools.reduce(lambda at, key: at.get(key, {}), path.split("."), each) == value for path, value in pairs
    )


@contextmanager
def served(api):
    """Serve it on a local port, and yield the URL."""

    class Handler(BaseHTTPRequestHandler):
        def do(self):
            length = int(self.headers["Content-Length"] or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            url = urlsplit(self.path)
            status, answer = api.answer(self.command, url.path, dict(parse_qsl(url.query)), body)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answer.encode() if isinstance(answer, str) else json.dumps(answer).encode())

        do_GET = do_POST = do_PATCH = do_DELETE = do  # noqa: N815

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def kubeconfig(url, namespace="jobs"):
    """Return a kubeconfig's text."""
    context = {"cluster": "c", "user": "u", "namespace": namespace}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [
                {"name": "dev", "context": context},
                {"name": "other", "context": {**context, "namespace": "o"}},
            ],
            "current-context": "dev",
        }
    )


def pod_template(*env):
    runner = {"name": "runner", "image": "registry.example/dask-flow:1", "args": ["run"], "env": [*MARK, *env]}
    labels = {"app.kubernetes.io/component": "runner"}
    return {"metadata": {"labels": labels}, "spec": {"containers": [runner], "restartPolicy": "Never"}}


def cron_job(release="nightly", *env):
    labels = {"app.kubernetes.io/name": "dask-flow", "app.kubernetes.io/instance": release}
    template = {"metadata": {"labels": labels}, "spec": {"backoffLimit": 0, "template": pod_template(*env)}}
    metadata = {"name": f"{release}-dask-flow", "labels": labels, "uid": f"uid-of-{release}"}
    return {"metadata": metadata, "spec": {"suspend": True, "jobTemplate": template}}


def job(name="monday", release="nightly", **status):
    spec = {"template": pod_template()}
    return {
        "metadata": {"name": name, "labels": {"app.kubernetes.io/instance": release}},
        "spec": spec,
        "status": status,
    }


def runner_pod(run="monday", suffix="a", state=None, **status):
    """A runner's pod; `state` is its container's, such as {"running": {}}."""
    labels = {"app.kubernetes.io/component": "runner", "batch.kubernetes.io/job-name": run}
    statuses = [{"name": "runner", "state": state}] if state else []
    return {
        "metadata": {"name": f"{run}-{suffix}", "labels": labels},
        "spec": pod_template()["spec"],
        "status": {"containerStatuses": statuses, **status},
    }


def ended(code, message=""):
    return {"terminated": {"exitCode": code, "message": message, "reason": "Error" if code else "Completed"}}


def warning(name, reason="FailedCreate", message="exceeded quota: small", kind="Job", time="2026-01-01T00:05:00Z"):
    """A warning Event of an object, seen last at that time."""
    return {
        "metadata": {"name": f"{name}.{reason}"},
        "type": "Warning",
        "reason": reason,
        "message": message,
        "involvedObject": {"kind": kind, "name": name, "namespace": "jobs"},
        "lastTimestamp": time,
    }


FAILED = [
    {"type": "Failed", "status": "True", "reason": "PodFailurePolicy", "lastTransitionTime": "2026-01-01T00:01:30Z"}
]
COMPLETE = [{"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-01T00:01:30Z"}]
