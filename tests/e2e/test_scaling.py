"""Runs that scale, runs in a row, runs side by side."""

import re

import pytest
from namespaces import UP_AND_DOWN, flow


def test_adaptive_cluster_grows_and_shrinks_without_losing_or_repeating_a_task(namespace):
    namespace.install(flow=flow(UP_AND_DOWN), cluster={"minWorkers": 1, "maxWorkers": 3})

    end = namespace.finish(namespace.start(), seconds=180)

    assert end.exit_code == 0, end.log
    assert "result of main: 1 to 3 to 1 workers, total 780 in 40 runs" in end.log
    assert namespace.workers() == []


def test_pods_of_several_workers_grow_and_shrink_as_a_whole(namespace):
    spec = (
        "spec: {containers: [{name: worker, args: [dask, worker, --nworkers, '2', --nthreads, '1', --no-dashboard]}]}"
    )
    text = UP_AND_DOWN.replace("> 1", "> 2")
    namespace.install(flow=flow(text), cluster={"minWorkers": 1, "maxWorkers": 2, "workerSpec": spec})

    end = namespace.finish(namespace.start(), seconds=180)

    assert end.exit_code == 0, end.log
    assert re.search(r"result of main: [12] to 4 to 2 workers, total 780 in 40 runs", end.log), end.log
    assert not re.search(r"requested: .*-worker-[2-9]", end.log)


@pytest.mark.timeout(900)
def test_twenty_runs_in_a_row_leave_nothing(namespace):
    namespace.install(flow=flow("def main(client): return client.submit(pow, 2, 10).result()\n"))
    before = namespace.objects()

    for number in range(20):
        end = namespace.finish(namespace.start(f"run-{number}"))
        assert "result of main: 1024" in end.log
        assert namespace.objects() - before == {f"pod/{end.pod}"}
        namespace.kubectl("delete", "job", f"run-{number}", "--cascade=foreground")

    assert namespace.objects() == before


def test_five_runs_side_by_side_do_not_touch_each_other(namespace):
    text = (
        "import time\ndef work(n): time.sleep(2); return n\ndef main(client): return client.submit(work, 7).result()\n"
    )
    namespace.install(flow=flow(text))
    before = namespace.objects()

    # Of a CronJob's finished Jobs, Kubernetes keeps the last three only.
    namespace.kubectl("patch", "cronjob", "r-dask-flow", "-p", '{"spec": {"successfulJobsHistoryLimit": 5}}')

    names = [namespace.start(f"run-{number}") for number in range(5)]
    ends = [namespace.finish(name) for name in names]

    assert [end.exit_code for end in ends] == [0] * 5
    assert all("result of main: 7" in end.log for end in ends)
    assert namespace.objects() - before == {f"pod/{end.pod}" for end in ends}
