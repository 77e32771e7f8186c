"""The chart's static cluster: flows run on it, it changes and fails, and uninstalling takes it away."""

import datetime as dt
import json
import re
import subprocess
from contextlib import contextmanager

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from namespaces import CHART, IMAGE, OWN_NODE, ROOT, SLOW, flow, run
from seeds import seed, side, with_our_imports

STATIC = ("-f", ROOT / "values/static.yaml")
ALL_KINDS = (
    "pods,replicasets,deployments,services,secrets,configmaps,jobs,cronjobs,poddisruptionbudgets,ingresses,"
    "serviceaccounts,roles,rolebindings"
)

WORKERS = "app.kubernetes.io/component=worker"
HELLO = (ROOT / "examples/hello.py").read_text()
HOSTS = """
def where():
    import socket
    return socket.gethostname()

def main(client):
    infos = client.sync(client.scheduler.identity, n_workers=-1)["workers"].values()
    threads = sorted(each["nthreads"] for each in infos)
    hosts = sorted(set(client.run(where).values()))
    return f"threads {threads} hosts {' '.join(hosts)}"
"""
# Sums squares, slowly, and says on how many workers that was.
SUM = """
import time
from dask_flow import Flow, task

@task
def square(n):
    time.sleep(0.5)
    return n * n

@task
def total(numbers):
    return sum(numbers)

with Flow("sum") as flow:
    total(square.map(list(range(400))))
"""
SUM_IS = f"result of total: {sum(n * n for n in range(400))}"
TAGGED = """
import socket
from dask_flow import Flow, task

@task(tags=["dask-resource:BIG=1"])
def where():
    return socket.gethostname()

with Flow("tagged") as flow:
    where()
"""
QUICK = {"startupTimeoutSeconds": 6}
# Two flows with functions of the same names that do different things.
SAME_NAMES = """
import time

def work(n):
    time.sleep(0.2)
    return n * {factor}

def main(client):
    return sum(client.gather(client.map(work, range(40), pure=False)))
"""


def install(namespace, *args, **values):
    return namespace.install("r", "--wait", "--timeout", "2m", *STATIC, *args, **values)


def everything(namespace):
    names = namespace.kubectl("get", ALL_KINDS, "-o", "name").split()
    return {name for name in names if not re.search("kube-root-ca|serviceaccount/default", name)}


def flow_on(namespace, name, text, **values):
    """Install a release that only runs a flow, on the static cluster, and return the run's name."""
    values = {"cluster": {"address": "tcp://dask-scheduler:8786"}, "run": {"backoffLimit": 0}, **values}
    namespace.install(name, flow=flow(text), **values)
    return namespace.start(name, name)


def scheduler_pod(namespace):
    pods = namespace.get("pods", "-l", "app.kubernetes.io/component=scheduler")["items"]
    return next(pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"])


def restart(namespace, what):
    namespace.kubectl("rollout", "restart", f"deployment/{what}")
    namespace.kubectl("rollout", "status", f"deployment/{what}", "--timeout=180s")


def test_flows_run_on_it_side_by_side_and_uninstalling_leaves_nothing(namespace):
    before = everything(namespace)
    install(namespace, flow=flow(HOSTS))
    installed = everything(namespace)

    end = namespace.finish(namespace.start())
    runs = {factor: flow_on(namespace, f"by-{factor}", SAME_NAMES.format(factor=factor)) for factor in (1, 2, 3)}
    results = {factor: namespace.finish(name).log for factor, name in runs.items()}

    assert end.exit_code == 0, end.log
    assert re.search(r"threads \[4, 4\] hosts r-dask-flow-worker-\S+ r-dask-flow-worker-\S+$", end.log, re.MULTILINE)
    for factor, log in results.items():
        assert f"result of main: {factor * sum(range(40))}" in log
    for name in runs.values():
        run("helm", "uninstall", name, "-n", namespace.name)  # its runs go with it
    namespace.kubectl("delete", "job", "run")
    namespace.wait_for(lambda: everything(namespace) == installed, "the end of what the runs made")
    run("helm", "uninstall", "r", "-n", namespace.name)
    namespace.wait_for(lambda: everything(namespace) == before, "the end of what the release made")


def test_rolling_update_in_the_middle_of_a_flow_costs_no_result(namespace):
    install(namespace, flow=flow(SUM))
    namespace.start()
    runner = namespace.wait_for_log("workers there")
    before = {pod["metadata"]["name"] for pod in namespace.get("pods", "-l", WORKERS)["items"]}

    restart(namespace, "r-dask-flow-worker")
    phase = namespace.get("pod", runner)["status"]["phase"]
    after = {pod["metadata"]["name"] for pod in namespace.get("pods", "-l", WORKERS)["items"]}
    end = namespace.finish()

    assert (len(after - before), phase) == (2, "Running")
    assert (end.exit_code, SUM_IS in end.log) == (0, True), end.log


def test_killed_scheduler_is_another_attempt_on_the_same_cluster(namespace):
    install(namespace, flow=flow(SLOW, params={"seconds": 20}), run={"backoffLimit": 1})
    namespace.start()
    runner = namespace.wait_for_log("workers there")

    namespace.kill(scheduler_pod(namespace), "psutil.Process(1).children()[0]")
    end = namespace.finish()

    first = namespace.runners()[0]["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (first["exitCode"], namespace.runners()[0]["metadata"]["name"]) == (4, runner)
    assert "the connection to the Dask scheduler was lost while the flow ran" in first["message"]
    assert (end.condition, end.exit_code) == ("Complete", 0), end.log
    assert end.pod != runner


@contextmanager
def forwarded(namespace, what):
    """Forward a port of a Service to this machine, and yield its number here."""
    line = ["kubectl", "port-forward", "-n", namespace.name, what, ":8786"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            yield int(re.search(r"127\.0\.0\.1:(\d+) ->", process.stdout.readline())[1])
        finally:
            process.terminate()


@OWN_NODE
def test_flow_runs_from_outside_through_a_port_forward(namespace):
    install(namespace, flow=flow(HELLO))
    # In the network of this machine, which the forwarded port is on.
    namespace.kubectl(
        "label", "namespace", namespace.name, "pod-security.kubernetes.io/enforce=privileged", "--overwrite"
    )

    with forwarded(namespace, "service/dask-scheduler") as port:
        outside = {"hostNetwork": True}
        address = f"tcp://127.0.0.1:{port}"
        namespace.install("outside", flow=flow(HOSTS), cluster={"address": address}, runner={"podSpec": outside})
        end = namespace.finish(namespace.start("outside", "outside"))

    assert end.exit_code == 0, end.log
    assert f"connected to {address}" in end.log
    assert "hosts r-dask-flow-worker-" in end.log


def certificate(issuer=None):
    """Return a new certificate and its key, in PEM, of the given issuer's (certificate, key), else a CA's own."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "dask" if issuer else "dask CA")])
    signer = serialization.load_pem_private_key(issuer[1].encode(), None) if issuer else key
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(x509.load_pem_x509_certificate(issuer[0].encode()).subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .sign(signer, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    no_password = serialization.NoEncryption()
    text = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, no_password).decode()
    return made.public_bytes(pem).decode(), text


def tls_secret(name):
    """Return a Secret with a certificate of a CA of its own, as cert-manager makes them."""
    ca = certificate()
    own, key = certificate(ca)
    data = {"ca.crt": ca[0], "tls.crt": own, "tls.key": key}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}


def test_tls_cluster_takes_only_clients_with_its_keys_and_new_keys_at_a_restart(namespace):
    namespace.apply(tls_secret("keys"), tls_secret("strangers"))
    install(namespace, flow=flow(HOSTS), static={"tls": {"secretName": "keys"}})
    address = "tls://dask-scheduler:8786"

    ours = namespace.finish(namespace.start())
    plain = namespace.finish(
        flow_on(namespace, "plain", HOSTS, cluster={**QUICK, "address": address.replace("tls", "tcp")})
    )
    strange = {**QUICK, "address": address, "tlsSecretName": "strangers"}
    stranger = namespace.finish(flow_on(namespace, "stranger", HOSTS, cluster=strange))

    assert (ours.exit_code, f"connected to {address}" in ours.log) == (0, True), ours.log
    assert (plain.exit_code, "does it speak tls://?" in plain.reason) == (3, True), plain.log
    assert (stranger.exit_code, "its certificate is not from the CA of this client" in stranger.reason) == (3, True)

    namespace.kubectl("delete", "secret", "keys", "strangers")
    namespace.apply(tls_secret("keys"))
    restart(namespace, "r-dask-flow-scheduler")
    restart(namespace, "r-dask-flow-worker")
    again = namespace.finish(namespace.start("again"))

    assert (again.exit_code, f"connected to {address}" in again.log) == (0, True), again.log


def test_groups_of_workers_have_tasks_of_their_own(namespace):
    group = {"name": "big", "replicas": 1, "nthreads": 1, "nworkers": 2, "daskResources": {"BIG": 1}}
    install(namespace, flow=flow(TAGGED), static={"workerGroups": [group]}, cluster={"minWorkers": 4})

    end = namespace.finish(namespace.start())

    assert end.exit_code == 0, end.log
    assert re.search(r"result of where: r-dask-flow-worker-big-", end.log), end.log


def test_objects_of_every_option_are_taken_by_the_api_server(namespace):
    ingress = {"enabled": True, "hosts": ["dask.example"], "tls": [{"secretName": "t", "hosts": ["dask.example"]}]}
    values = {"static": {"dashboard": {"ingress": ingress}, "tls": {"secretName": "keys"}}, "flow": flow(HELLO)}
    chart = run(
        "helm", "template", "r", CHART, "--no-hooks", "-n", namespace.name, *STATIC, "-f", "-", stdin=json.dumps(values)
    ).stdout

    taken = namespace.kubectl("apply", "--dry-run=server", "-o", "name", "-f", "-", stdin=chart).split()

    assert {"ingress.networking.k8s.io/r-dask-flow-dashboard", "service/dask-scheduler"} <= set(taken), taken


SIDES = {"newer": (False, [4, 4]), "older": (True, [1, 1, 1, 1])}


@pytest.mark.parametrize(("theirs", "threads"), SIDES.values(), ids=SIDES)
def test_seeds_manifests_work_as_they_stand(namespace, theirs, threads):
    document = side(seed("static-dask-cluster.txt"), theirs)
    blocks = re.findall(r"```(yaml|python)\n(.*?)```", document, re.DOTALL)
    manifests = "\n---\n".join(text for kind, text in blocks if kind == "yaml")
    (their_flow,) = (text for kind, text in blocks if kind == "python")
    # The recipe is older than Pod Security.
    namespace.kubectl(
        "label", "namespace", namespace.name, "pod-security.kubernetes.io/enforce=baseline", "--overwrite"
    )
    namespace.apply_text(
        manifests.replace("prefecthq/prefect:latest", f"{IMAGE}\n          imagePullPolicy: IfNotPresent")
    )

    cluster = {"address": "tcp://dask-scheduler:8786", "minWorkers": len(threads)}
    seen = namespace.finish(flow_on(namespace, "seen", HOSTS, cluster=cluster))
    namespace.install("r", flow=flow(with_our_imports(their_flow)))
    end = namespace.finish(namespace.start())

    assert f"threads {threads} hosts dask-worker-" in seen.log, seen.log
    assert end.exit_code == 0, end.log
    assert re.search(r"task output_value: Example!", end.log), end.log
