import pytest
from dask_flow.pod_status import problem


def pod(**status):
    return {"metadata": {"name": "w-0"}, "status": status}


def container(**state):
    return {"name": "worker", "state": state}


@pytest.mark.parametrize(
    ("status", "text", "hopeless"),
    [
        (
            {"containerStatuses": [container(waiting={"reason": "ErrImagePull", "message": "not found"})]},
            "pod w-0, container worker: ErrImagePull: not found",
            True,
        ),
        (
            {
                "initContainerStatuses": [
                    container(waiting={"reason": "CreateContainerConfigError", "message": 'secret "s" not found'})
                ]
            },
            'pod w-0, container worker: CreateContainerConfigError: secret "s" not found',
            True,
        ),
        (
            {"phase": "Failed", "containerStatuses": [container(terminated={"reason": "OOMKilled", "exitCode": 137})]},
            "pod w-0 ended: container worker: OOMKilled, exit code 137",
            True,
        ),
        (
            {"phase": "Failed", "reason": "Evicted", "message": "low on memory"},
            "pod w-0 ended: Evicted: low on memory",
            True,
        ),
        (
            {"phase": "Failed", "containerStatuses": [container(terminated={"exitCode": 1, "message": "a\nb\n"})]},
            "pod w-0 ended: container worker: Error, exit code 1\n  a\n  b",
            True,
        ),
        ({"phase": "Succeeded"}, "pod w-0 ended: phase Succeeded", True),
        (
            {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes"}]},
            "pod w-0 is not scheduled: 0/1 nodes",
            False,
        ),
    ],
)
def test_problem_says_why_and_whether_waiting_may_help(status, text, hopeless):
    found = problem(pod(**status))

    assert found.text == text
    assert found.hopeless is hopeless


def test_pod_that_is_deleted_and_ends_in_order_was_deleted():
    deleted = {
        "metadata": {"name": "w-0", "deletionTimestamp": "2026-01-01T00:00:00Z"},
        "status": {"phase": "Succeeded"},
    }

    assert problem(deleted).text == "pod w-0 was deleted"
    assert not problem(deleted).orderly
    assert problem(pod(phase="Succeeded")).orderly


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"phase": "Running", "containerStatuses": [container(running={})]},
        {"phase": "Pending", "containerStatuses": [container(waiting={"reason": "ContainerCreating"})]},
        {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]},
    ],
)
def test_pod_on_its_way_has_no_problem(status):
    assert problem(pod(**status)) is None
