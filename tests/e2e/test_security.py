"""Who may speak to a run's cluster, where its key is, and what the runner may do."""

import pytest
from namespaces import OWN_NODE, UP_AND_DOWN, flow, granted_by, requests, run, service_account

STRANGERS = """
from distributed import Client, Security

def attempt(address, security):
    try:
        with Client(address, security=security, timeout=5):
            return "let in"
    except OSError as error:
        return "refused"

def trusting(ca_file, stranger):
    return Security(
        require_encryption=True,
        tls_ca_file=ca_file,
        tls_client_cert=stranger.tls_client_cert,
        tls_client_key=stranger.tls_client_key,
    )

def on_worker(address):
    from distributed import get_client
    return get_client().scheduler.address == address

def main(client):
    address = client.scheduler.address
    plain = address.replace("tls:", "tcp:")
    assert address.startswith("tls:")
    assert client.submit(on_worker, address).result()
    worker = next(iter(client.nthreads()))
    assert worker.startswith("tls:")
    return [
        attempt(plain, None),
        attempt(address, Security.temporary()),
        attempt(address, trusting(client.security.tls_ca_file, Security.temporary())),
        attempt(address, client.security),
    ]
"""
WAITING = "import time\ndef main(client): client.submit(abs, 1).result(); print('READY', flush=True); time.sleep(8)\n"
ENVIRONMENT = "import glob; print(*(open(each, errors='replace').read() for each in glob.glob('/proc/[0-9]*/environ')))"


def test_clients_without_the_runs_key_are_refused(namespace):
    namespace.install(flow=flow(STRANGERS))

    end = namespace.finish(namespace.start())

    assert end.exit_code == 0, end.log
    assert "result of main: ['refused', 'refused', 'refused', 'let in']" in end.log


def test_without_tls_there_is_no_secret_and_no_right_to_make_one(namespace):
    namespace.install(flow=flow("def main(client): return client.scheduler.address\n"), cluster={"tls": False})

    end = namespace.finish(namespace.start())

    assert end.exit_code == 0, end.log
    assert "result of main: tcp://" in end.log


@pytest.mark.parametrize("scheduler", ["runner", "pod"])
def test_key_is_in_the_secret_and_nowhere_else(namespace, scheduler):
    debug = [{"name": "DASK_FLOW_DEBUG", "value": "true"}, {"name": "DASK_LOGGING__DISTRIBUTED", "value": "debug"}]
    namespace.install(flow=flow(WAITING, env=debug), cluster={"scheduler": scheduler})
    namespace.start()
    runner = namespace.wait_for_log("READY")
    pods = [each["metadata"]["name"] for each in namespace.get("pods")["items"]]

    secret = namespace.get("secret", f"{runner}-tls")
    found = namespace.kubectl("get", "pods,configmaps,services,events,jobs", "-o", "json")
    for pod in pods:
        found += namespace.kubectl("logs", pod) + namespace.kubectl("exec", pod, "--", "python", "-c", ENVIRONMENT)
    end = namespace.finish()

    assert secret["metadata"]["ownerReferences"][0]["name"] == runner
    assert len(pods) == (2 if scheduler == "runner" else 3)
    assert "DASK_DISTRIBUTED__COMM__TLS__WORKER__KEY" in found
    for mark in ("PRIVATE KEY", secret["data"]["tls.key"][40:80]):
        assert mark not in found + end.log
    assert namespace.kubectl("get", "secret", f"{runner}-tls", "--ignore-not-found") == ""


@OWN_NODE
def test_run_on_a_static_cluster_has_no_role_and_asks_kubernetes_nothing(namespace):
    static = {"enabled": True, "worker": {"replicas": 1}}
    namespace.install("r", "--wait", static=static, flow=flow("def main(client): return client.submit(abs, -1)\n"))

    end = namespace.finish(namespace.start())

    assert end.exit_code == 0, end.log
    assert namespace.kubectl("get", "roles", "-o", "name") == ""
    assert requests(namespace) == set()


@OWN_NODE
@pytest.mark.parametrize(
    ("cluster", "claim"),
    [({"scheduler": "runner"}, ""), ({"scheduler": "pod"}, ""), ({"tls": False}, ""), ({}, "reports")],
    ids=["runner", "pod", "no-tls", "report"],
)
def test_runner_uses_every_verb_of_its_role_and_no_other(namespace, reports, cluster, claim):
    report = {"persistentVolumeClaim": claim}
    namespace.install(flow=flow(UP_AND_DOWN), cluster={"maxWorkers": 2, **cluster}, report=report)
    of_logs = {("pods/log", "get")} if claim else set()
    granted = granted_by(namespace.get("role", "r-dask-flow"))
    assert of_logs <= granted
    granted -= of_logs  # which are, by `requests`, of pods: what shows them is the report

    end = namespace.finish(namespace.start(), seconds=180)

    assert end.exit_code == 0, end.log
    assert "Traceback" not in end.log
    assert bool(list(reports.glob("run/logs/*-worker-0.log"))) is bool(claim)
    namespace.wait_for(lambda: requests(namespace) >= granted, f"the use of {granted}", seconds=20)
    assert requests(namespace) == granted
    user = ("--as", service_account(namespace))
    denied = run("kubectl", "auth", "can-i", "get", "secrets", "-n", namespace.name, *user, check=False)
    assert denied.stdout.strip() == "no"
