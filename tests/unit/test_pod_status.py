import pytest
from dask_flow.pod_status import ends, has_ended, is_ready, mount_problem, problem, refusal


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
            "pod w-0 ended: container worker: OOMKilled, exit code 137, no memory limit: the node had none left",
            True,
        ),
        (
            {
                "containerStatuses": [
                    container(waiting={"reason": "ImagePullBackOff", "message": "429 Too Many Requests"})
                ]
            },
            "pod w-0, container worker: ImagePullBackOff: 429 Too Many Requests",
            False,
        ),
        (
            {"phase": "Failed", "reason": "Evicted", "message": "low on memory"},
            "pod w-0 ended: Evicted: low on memory",
            True,
        ),
        (
            {
                "phase": "Failed",
                "reason": "Evicted",
                "message": 'Usage of EmptyDir volume "tmp" exceeds the limit "10Mi". ',
                "containerStatuses": [container(terminated={"reason": "Error", "exitCode": 137})],
            },
            'pod w-0 ended: Evicted: Usage of EmptyDir volume "tmp" exceeds the limit "10Mi".',
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


ASKED = 'failed to pull and unpack image "reg.example/a:1": failed to resolve reference "reg.example/a:1": '
HEAD = f'{ASKED}failed to do request: Head "https://reg.example/v2/a/manifests/1": '


@pytest.mark.parametrize(
    ("message", "hopeless"),
    [
        (f"{HEAD}dial tcp: lookup reg.example on 10.96.0.10:53: no such host", False),
        (f"{HEAD}dial tcp: lookup reg.example on 10.96.0.10:53: server misbehaving", False),
        (f"{HEAD}dial tcp 10.0.0.1:443: connect: connection refused", False),
        (f"{HEAD}read tcp 10.0.0.2:5->10.0.0.1:443: read: connection reset by peer", False),
        (f"{HEAD}EOF", False),
        (f"{HEAD}net/http: TLS handshake timeout", False),
        (f"{HEAD}dial tcp 10.0.0.1:443: i/o timeout", False),
        (f"{ASKED}failed to authorize: failed to fetch anonymous token: Get ...: dial tcp: no such host", False),
        (f"{ASKED}unexpected status from HEAD request to https://reg.example/v2/: 503 Service Unavailable", False),
        (f"{ASKED}unexpected status code [manifests 1]: 429", False),
        ('Back-off pulling image "reg.example/a:1"', False),
        (f'Back-off pulling image "reg.example/a:1": ErrImagePull: {ASKED}reg.example/a:1: not found', True),
        (f"{ASKED}reg.example/a:1: not found", True),
        ('failed to do request: Head "https://localhost/v2/a": dial tcp [::1]:443: connect: connection refused', True),
        (f"{ASKED}failed to authorize: failed to fetch anonymous token: unexpected status: 401 Unauthorized", True),
        (f"{HEAD}tls: failed to verify certificate: x509: certificate signed by unknown authority", True),
    ],
)
def test_hiccup_of_a_registry_passes_by_waiting(message, hopeless):
    for reason in ("ErrImagePull", "ImagePullBackOff"):
        found = problem(pod(containerStatuses=[container(waiting={"reason": reason, "message": message})]))

        assert (found.hopeless, message in found.text) == (hopeless, True)


@pytest.mark.parametrize(
    ("secrets", "said"),
    [
        ([], "names no pull secret: set --image-pull-secret"),
        (["one", "two"], "pull secrets, one, two, are not there, or do not fit"),
    ],
)
@pytest.mark.parametrize(
    "message",
    [
        "pull access denied, repository does not exist or may require authorization: server message: no basic auth",
        "failed to authorize: failed to fetch anonymous token: 401 Unauthorized",
        "unable to retrieve auth token: invalid username/password: unauthorized: authentication required",
    ],
)
def test_refused_image_names_the_pull_secrets(message, secrets, said):
    status = pod(containerStatuses=[container(waiting={"reason": "ErrImagePull", "message": message})])
    status["spec"] = {"imagePullSecrets": [{"name": name} for name in secrets]}

    assert message in problem(status).text
    assert said in problem(status).text


def test_oom_kill_names_the_limit_and_is_its_own_cause():
    killed = container(terminated={"reason": "OOMKilled", "exitCode": 137})
    spec = {"containers": [{"name": "worker", "resources": {"limits": {"memory": "512Mi"}}}]}

    found = problem({**pod(phase="Failed", containerStatuses=[killed]), "spec": spec})

    assert (found.text, found.cause, found.disruption) == (
        "pod w-0 ended: container worker: OOMKilled, exit code 137, memory limit 512Mi",
        "OOMKilled",
        False,
    )


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("DisruptionTarget", "PreemptionByScheduler"), ("TerminationTarget", "WorkloadEvictedDueToPreempted")],
)
def test_disruption_is_told_from_a_failure_as_soon_as_it_is_announced(kind, reason):
    condition = {"type": kind, "status": "True", "reason": reason, "message": "by p-1"}

    found = problem(pod(phase="Running", conditions=[condition]))

    assert (found.text, found.cause) == (f"pod w-0 is taken away: {reason}: by p-1", reason)
    assert found.disruption


def test_kueues_reason_for_an_eviction_is_told_before_kubernetes_own():
    conditions = [
        {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"},
        {"type": "TerminationTarget", "status": "True", "reason": "WorkloadEvictedDueToPreempted"},
    ]

    assert problem(pod(conditions=conditions)).cause == "WorkloadEvictedDueToPreempted"


@pytest.mark.parametrize(
    ("gates", "labels", "text"),
    [
        (
            ["kueue.x-k8s.io/admission", "kueue.x-k8s.io/topology"],
            {"kueue.x-k8s.io/queue-name": "team"},
            "pod w-0 waits to be admitted by Kueue to the queue team",
        ),
        (["example.org/a", "example.org/b"], {}, "pod w-0 waits for its gates example.org/a, example.org/b"),
    ],
)
def test_pod_behind_a_gate_waits_for_who_opens_it(gates, labels, text):
    gated = pod(conditions=[{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}])
    gated["metadata"]["labels"] = labels
    gated["spec"] = {"schedulingGates": [{"name": name} for name in gates]}

    assert (problem(gated).text, problem(gated).hopeless) == (text, False)


def test_crash_loop_shows_the_last_words():
    crashed = container(waiting={"reason": "CrashLoopBackOff", "message": "back-off 10s"})
    crashed["lastState"] = {"terminated": {"exitCode": 1, "message": "no such option --nprocss\n"}}

    text = problem(pod(containerStatuses=[crashed])).text

    assert text.endswith(
        "CrashLoopBackOff: back-off 10s; container worker: Error, exit code 1\n  no such option --nprocss"
    )


def test_end_of_dasks_container_is_the_pods_end_though_a_sidecar_goes_on():
    made = pod(phase="Running", containerStatuses=[container(terminated={"exitCode": 0})])
    made["metadata"]["annotations"] = {"kubectl.kubernetes.io/default-container": "worker"}
    made["spec"] = {"restartPolicy": "Never", "containers": []}

    assert has_ended(made)
    assert problem(made).orderly
    assert not has_ended({**made, "spec": {"restartPolicy": "Always", "containers": []}})


@pytest.mark.parametrize(
    ("reason", "message", "hopeless"),
    [
        ("FailedMount", 'MountVolume.SetUp failed for volume "v" : secret "nothing" not found', True),
        ("FailedMount", "hostPath type check failed: /data is not a directory", True),
        ("FailedMount", "failed to sync secret cache: timed out waiting for the condition", False),
        ("FailedAttachVolume", "Multi-Attach error for volume", False),
        ("Unhealthy", "probe failed", None),
    ],
)
def test_mount_problem_is_hopeless_if_waiting_does_not_help(reason, message, hopeless):
    found = mount_problem({"reason": reason, "message": message, "involvedObject": {"name": "w-0"}})

    assert found == hopeless if hopeless is None else found.hopeless is hopeless


def test_pod_is_ready_when_kubernetes_says_so():
    assert is_ready(pod(conditions=[{"type": "Ready", "status": "True"}]))
    assert not is_ready(pod(conditions=[{"type": "Ready", "status": "False"}]))


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


@pytest.mark.parametrize(
    ("state", "last", "restarts", "count", "cause"),
    [
        ({"running": {}}, {}, 0, 0, None),
        ({"terminated": {"exitCode": 3, "reason": "Error"}}, {}, 0, 1, "exit code 3"),
        ({"running": {}}, {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}, 2, 2, "OOMKilled"),
    ],
)
def test_ends_of_a_container_that_is_started_again_are_counted(state, last, restarts, count, cause):
    container = {"name": "worker", "state": state, "lastState": last, "restartCount": restarts}
    made = pod(phase="Running", containerStatuses=[{"name": "log", "restartCount": 9, "state": {}}, container])
    made["metadata"]["annotations"] = {"kubectl.kubernetes.io/default-container": "worker"}

    found, last_end = ends(made)

    assert (found, last_end and last_end.cause) == (count, cause)
    assert last_end is None or not last_end.orderly


def test_end_without_an_error_is_orderly():
    container = {"name": "worker", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}
    made = pod(phase="Running", containerStatuses=[container])
    made["metadata"]["annotations"] = {"kubectl.kubernetes.io/default-container": "worker"}

    assert ends(made)[1].orderly


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (
            {
                "reason": "FailedCreate",
                "message": "exceeded\nquota",
                "involvedObject": {"kind": "ReplicaSet", "name": "r"},
            },
            "pods of ReplicaSet r cannot be made: exceeded quota",
        ),
        (
            {"type": "Error", "message": "Handler failed", "involvedObject": {"kind": "DaskCluster", "name": "c"}},
            "the Dask operator: Handler failed",
        ),
        ({"type": "Warning", "message": "not yet", "involvedObject": {"kind": "DaskCluster", "name": "c"}}, None),
        (
            {"type": "Warning", "reason": "BackOff", "message": "x", "involvedObject": {"kind": "Pod", "name": "p"}},
            None,
        ),
    ],
)
def test_refusal_is_what_a_controller_may_not_do(event, text):
    found = refusal(event)

    assert (found and found.text) == text
