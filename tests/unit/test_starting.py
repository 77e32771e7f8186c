"""When a start fails at once, and when it goes on with the pods that can run."""

import pytest
from dask_flow.report.notify import Notifier
from dask_flow.run import run
from kubelet import in_cluster, waiting

FLOW = "def main(client): return client.submit(abs, -1).result()\n"
NOT_FOUND = waiting("ErrImagePull", "reg.example/a:1: not found")
NO_SECRET = waiting("CreateContainerConfigError", 'secret "database" not found')
NO_HOST = waiting("ErrImagePull", "dial tcp: lookup reg.example: no such host")


@pytest.fixture
def cluster(monkeypatch, tmp_path):
    with in_cluster(monkeypatch, tmp_path) as made:
        yield made


def outcome(tmp_path, **given):
    path = tmp_path / "flow_of_the_start.py"
    path.write_text(FLOW)
    return run(
        {"target": str(path), "cluster": "pods", "tls": False, "min_workers": 2, "max_workers": 2, **given}, Notifier()
    )


@pytest.mark.parametrize(
    ("failing", "log"),
    [
        ({"1": NOT_FOUND}, "worker-1, container worker: ErrImagePull: reg.example/a:1: not found; it is replaced"),
        ({"1": NO_HOST}, "waiting: pod nightly-x7k2p-worker-1, container worker: ErrImagePull: dial tcp"),
        ("exceeded quota: small", "worker-1 could not be made: the Kubernetes API refused POST pods"),
    ],
    ids=["bad-pod", "busy-registry", "quota"],
)
def test_pod_that_cannot_run_does_not_keep_another_from_its_work(cluster, tmp_path, caplog, failing, log):
    if isinstance(failing, str):
        cluster.refused["1"] = (403, failing)
    else:
        cluster.failing = failing

    with caplog.at_level("INFO", "dask_flow"):
        ended = outcome(tmp_path)

    assert (ended.exit_code, ended.reason) == (0, "the flow succeeded")
    assert log in caplog.text


def test_start_fails_at_once_when_no_pod_can_run(cluster, tmp_path):
    cluster.failing = {"0": NOT_FOUND, "1": NO_SECRET}

    ended = outcome(tmp_path)

    assert ended.exit_code == 3
    assert ended.reason.startswith("the workers cannot start: pod nightly-x7k2p-worker-")
