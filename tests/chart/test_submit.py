"""What `dask-flow submit` makes of the chart's CronJob."""

import pytest
from dask_flow.remote.job import Submission, job
from dask_flow.remote.releases import is_runner, release_of
from rendering import env

FLOW = {"files": {"flow.py": "def main(): ..."}, "params": {"n": 1}}
SENT = Submission(
    "r", "/etc/dask-flow-run/flow/x.py", {"flow/x.py": b"..."}, ("--param=n=2",), pull_secrets=("p",), env={"A": "2"}
)


@pytest.mark.parametrize("values", [{}, {"fullnameOverride": "x", "nameOverride": "y"}, {"static": {"enabled": True}}])
def test_cron_job_is_found_whatever_its_name(chart, values):
    cron_job = chart.only("CronJob", **values)

    assert is_runner(cron_job["spec"]["jobTemplate"]["spec"]["template"])
    assert release_of(cron_job) == "r"


@pytest.mark.parametrize("mode", [{"mode": "template"}, {"mode": "cronjob", "schedule": "0 3 * * *"}])
def test_job_is_the_chart_s_but_for_its_flow(chart, mode):
    flow = {**FLOW, "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "1"}]}
    cron_job = chart.only("CronJob", flow=flow, run=mode, imagePullSecrets=[{"name": "q"}])
    cron_job["metadata"]["uid"] = "u"

    made = job(SENT, cron_job)

    plain, pod = cron_job["spec"]["jobTemplate"]["spec"], made["spec"]["template"]["spec"]
    assert {**made["spec"], "template": 0} == {**plain, "template": 0}
    assert pod["containers"][0]["args"] == ["run", "/etc/dask-flow-run/flow/x.py", "--param=n=2"]
    assert (env(pod)["A"], env(pod)["B"], "DASK_FLOW_PARAMS" in env(pod)) == ("2", "1", False)
    assert [each["name"] for each in pod["imagePullSecrets"]] == ["p", "q"]
    mounts = {each["name"]: each["mountPath"] for each in pod["containers"][0]["volumeMounts"]}
    assert mounts == {"tmp": "/tmp", "files": "/etc/dask-flow", "dask-flow-run": "/etc/dask-flow-run"}
    assert {each["name"] for each in pod["volumes"]} == set(mounts)
