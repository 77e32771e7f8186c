import pytest
from dask_flow.errors import InputError
from dask_flow.settings import RunSettings, resolve


def settings(declared=None, *, in_kubernetes=False, **given):
    return resolve({"target": "flow.py", **given}, declared or {}, in_kubernetes=in_kubernetes)


def test_precedence_given_wins_over_declared_over_defaults():
    declared = {"min_workers": 3, "max_workers": 4, "image": None}

    assert settings(declared).min_workers == 3
    assert settings(declared, min_workers=2, max_workers=None).min_workers == 2
    assert settings(declared, min_workers=2).max_workers == 4
    assert settings().max_workers == RunSettings.max_workers == 2


def test_minimum_alone_raises_the_default_maximum():
    assert settings(min_workers=5).max_workers == 5
    assert not settings(min_workers=5).adaptive
    assert settings().adaptive


@pytest.mark.parametrize(
    ("given", "in_kubernetes", "mode"),
    [
        ({}, False, "local"),
        ({}, True, "pods"),
        ({"address": "tcp://x:8786"}, True, "static"),
        ({"cluster": "local"}, True, "local"),
    ],
)
def test_auto_cluster_is_static_with_an_address_pods_in_kubernetes_else_local(given, in_kubernetes, mode):
    assert settings(in_kubernetes=in_kubernetes, **given).cluster == mode


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"min_workers": 3, "max_workers": 2}, "--min-workers 3 is more than --max-workers 2"),
        ({"min_workers": 0}, "--min-workers must be a whole number from 1 to 150000, not 0"),
        ({"min_workers": int("9" * 20)}, "--min-workers must be a whole number from 1 to 150000, not 9999"),
        ({"max_workers": -1}, "--max-workers must be a whole number from 1 to 150000, not -1"),
        ({"queue_name": "Team A"}, "--queue-name must be the name of a LocalQueue, up to 63 .* not 'Team A'"),
        ({"queue_name": "a" * 64}, "--queue-name must be the name of a LocalQueue, up to 63"),
        ({"startup_timeout": 0.0}, "--startup-timeout must be a number of seconds above 0, not 0"),
        ({"timeout": -1.0}, "--timeout must be a number of seconds above 0, not -1"),
        ({"cluster": "static"}, "--cluster static needs --address"),
        ({"cluster": "local", "address": "tcp://x:1"}, "--address is for --cluster static, not local"),
        ({"address": "tcp://x:1", "tls": True}, "--tls, but --address is tcp://x:1; leave --tls out, or give tls://…"),
        ({"address": "tls://x:1", "tls": False}, "--no-tls, but --address is tls://x:1; leave --no-tls out"),
        ({"cluster": "operator", "tls": True}, r"--tls, but the Dask operator's clusters speak plain TCP .* pods"),
        ({"cluster": "operator", "scheduler": "runner"}, "--scheduler runner, but the Dask operator gives"),
    ],
)
def test_impossible_settings_are_refused_by_name(given, message):
    with pytest.raises(InputError, match=message):
        settings(**given)


def test_declared_bounds_are_checked_too():
    with pytest.raises(InputError, match="whole number"):
        settings({"min_workers": "2"})


@pytest.mark.parametrize(
    ("given", "tls"),
    [
        ({"cluster": "pods"}, True),
        ({"cluster": "pods", "tls": False}, False),
        ({"cluster": "operator"}, False),
        ({"cluster": "local"}, False),
        ({"address": "tcp://x:1"}, False),
        ({"address": "tls://x:1"}, True),
    ],
)
def test_encryption_is_on_in_pods_by_the_address_of_a_static_cluster_else_off(given, tls):
    assert settings(**given).tls is tls


def test_cluster_that_is_asked_for_wins_over_the_address_that_the_flow_declares():
    declared = {"address": "tcp://dask-scheduler:8786"}

    assert settings(declared).cluster == "static"
    assert settings({"cluster": "pods"}, address="tcp://x:1").cluster == "static"
    assert (settings(declared, cluster="local").cluster, settings(declared, cluster="local").address) == ("local", None)


def test_operators_scheduler_has_a_pod_of_its_own():
    assert settings(cluster="operator").scheduler == "pod"
