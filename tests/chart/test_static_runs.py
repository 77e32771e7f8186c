"""How runs reach a static cluster, with TLS and without."""

import pytest
from dask_flow import cli
from dask_flow.manifests import TLS_PATH, tls_environment
from dask_flow.settings import resolve
from rendering import env

FLOW = {"files": {"flow.py": "def main(): return 1\n"}}
SCHEDULER = "r-dask-flow-scheduler"
KEYS = ["ca.crt", "tls.crt", "tls.key"]


def values(static=None, **cluster):
    return {"flow": FLOW, "cluster": cluster, "static": static or {}}


def settings(chart, monkeypatch, given):
    """Return the runner's settings, as its own parser makes them of the environment that the chart gives."""
    for name, value in env(chart.pod(**given)).items():
        monkeypatch.setenv(name, value or "x")
    with cli.run.make_context("run", ["flow.py"]) as context:
        found = {
            name: value for name, value in context.params.items() if name not in ("debug", "notify", "notify_when")
        }
    return resolve({**found, "params": {}, "args": ()}, {}, in_kubernetes=True)


@pytest.mark.parametrize("mode", ["auto", "static"])
def test_runs_use_the_releases_own_cluster(chart, monkeypatch, mode):
    found = settings(chart, monkeypatch, values({"enabled": True, "service": {"name": "dask", "port": 9}}, mode=mode))

    assert (found.cluster, found.address, found.tls) == ("static", "tcp://dask:9", False)


@pytest.mark.parametrize("mode", ["auto", "static"])
def test_given_address_wins_over_the_releases_own(chart, monkeypatch, mode):
    found = settings(chart, monkeypatch, values({"enabled": True}, mode=mode, address="tcp://other:8786"))

    assert (found.cluster, found.address) == ("static", "tcp://other:8786")


@pytest.mark.parametrize("mode", ["pods", "local", "operator"])
def test_runs_may_leave_the_static_cluster_to_others(chart, monkeypatch, mode):
    given = values({"enabled": True, "tls": {"secretName": "keys"}}, mode=mode)
    found = settings(chart, monkeypatch, given)

    assert (found.cluster, found.address) == (mode, None)
    assert bool(chart.of_kind("Role", **given)) is (mode != "local")
    assert "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION" not in env(chart.pod(**given))


@pytest.mark.parametrize(
    "given",
    [
        values({"enabled": True}),
        values({"enabled": True}, mode="static"),
        values(address="tcp://s:1"),
        values(address="tcp://s:1", mode="static"),
    ],
)
def test_runs_on_a_static_cluster_may_do_nothing_in_kubernetes(chart, given):
    assert not {each["kind"] for each in chart.objects(**given)} & {"Role", "RoleBinding"}
    assert chart.pod(**given)["automountServiceAccountToken"] is False


TLS = {"enabled": True, "tls": {"secretName": "keys"}}
EXPECTED = tls_environment() | {"DASK_DISTRIBUTED__COMM__TLS__CA_FILE": f"{TLS_PATH}/ca.crt"}


def test_all_ends_of_a_cluster_with_tls_have_its_keys(chart):
    found = chart.of_kind("Deployment", **values({**TLS, "workerGroups": [{"name": "x"}]}))

    for deployment in found.values():
        pod = deployment["spec"]["template"]["spec"]
        assert EXPECTED.items() <= env(pod).items()
        assert {"name": "tls", "secret": {"secretName": "keys"}} in pod["volumes"]
        mount = {"name": "tls", "mountPath": TLS_PATH, "readOnly": True}
        assert mount in pod["containers"][0]["volumeMounts"]
    assert len(found) == 3


def test_scheduler_and_workers_speak_tls(chart):
    args = {
        name: each["spec"]["template"]["spec"]["containers"][0]["args"]
        for name, each in chart.of_kind("Deployment", **values(TLS)).items()
    }

    assert "--protocol tls" in " ".join(args[SCHEDULER])
    assert f"tls://{SCHEDULER}:8786" in args["r-dask-flow-worker"]


@pytest.mark.parametrize(
    ("given", "secret"),
    [
        (values(TLS), "keys"),
        (values({"enabled": True, "tls": {"certificate": {"issuerRef": {"name": "ca"}}}}), "r-dask-flow-tls"),
        (values(address="tls://s:1", tlsSecretName="other"), "other"),
        (values(TLS, tlsSecretName="other"), "other"),
    ],
)
def test_runner_has_the_keys_where_its_files_are(chart, monkeypatch, given, secret):
    pod = chart.pod(**given)
    files = next(each["projected"]["sources"] for each in pod["volumes"] if each["name"] == "files")
    found = settings(chart, monkeypatch, given)

    assert EXPECTED.items() <= env(pod).items()
    assert files[1]["secret"] == {"name": secret, "items": [{"key": key, "path": f"tls/{key}"} for key in KEYS]}
    assert {"name": "files", "mountPath": "/etc/dask-flow", "readOnly": True} in pod["containers"][0]["volumeMounts"]
    assert (found.cluster, found.tls) == ("static", True)


@pytest.mark.parametrize("given", [values({"enabled": True}), values(TLS, address="tcp://s:1")])
def test_runner_has_no_keys_for_a_cluster_without_tls(chart, given):
    pod = chart.pod(**given)

    assert not EXPECTED.keys() & env(pod).keys()
    assert "secret" not in str(pod["volumes"])


def test_certificate_makes_the_secret_that_the_pods_mount(chart):
    certificate = {"issuerRef": {"name": "ca", "kind": "ClusterIssuer"}, "duration": "24h"}
    spec = chart.only("Certificate", **values({"enabled": True, "tls": {"certificate": certificate}}))["spec"]

    assert spec["secretName"] == "r-dask-flow-tls"
    assert spec["dnsNames"] == [SCHEDULER, f"{SCHEDULER}.ns", f"{SCHEDULER}.ns.svc"]
    assert certificate.items() <= spec.items()
    assert {"server auth", "client auth"} <= set(spec["usages"])


@pytest.mark.parametrize("where", ["tls", "certificate"])
def test_certificates_secret_may_be_named(chart, where):
    tls = {"certificate": {"issuerRef": {"name": "ca"}}}
    (tls if where == "tls" else tls["certificate"])["secretName"] = "mine"
    given = values({"enabled": True, "tls": tls})

    assert chart.only("Certificate", **given)["spec"]["secretName"] == "mine"
    for deployment in chart.of_kind("Deployment", **given).values():
        assert {"name": "tls", "secret": {"secretName": "mine"}} in deployment["spec"]["template"]["spec"]["volumes"]


def test_nothing_of_a_secret_is_in_what_is_rendered(chart):
    assert not chart.of_kind("Secret", **values(TLS))


def test_dashboards_link_is_one_that_leads_there(chart):
    ingress = {"enabled": True, "hosts": ["dask.example"], "tls": [{"secretName": "t"}]}

    def link(static):
        return env(chart.pod(**values({"enabled": True, **static}))).get("DASK_DISTRIBUTED__DASHBOARD__LINK")

    assert link({}) == "http://r-dask-flow-dashboard.ns:8787/status"
    assert link({"dashboard": {"ingress": ingress}}) == "https://dask.example/status"
    assert "DASK_DISTRIBUTED__DASHBOARD__LINK" not in env(chart.pod(**values(address="tcp://s:1")))
