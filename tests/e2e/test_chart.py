"""The chart on a cluster: chart-testing, and the API server's own validation."""

import pytest
from namespaces import CHART, IMAGE, ROOT, run

RUNS = [*sorted(CHART.glob("ci/*-values.yaml")), *sorted((ROOT / "values").glob("*.yaml"))]


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_the_api_server_accepts_every_object_strictly(namespace, path):
    # Without the operator's chart, which is not in the repository.
    line = ("helm", "template", "r", CHART, "-n", namespace.name, "-f", path, "--set", "operator.enabled=false")
    rendered = run(*line).stdout

    out = namespace.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=rendered)

    assert "cronjob.batch/" in out or "job.batch/" in out


def test_runner_pod_passes_restricted(namespace):
    rendered = run(
        *("helm", "template", "r", CHART, "-n", namespace.name, "-f", CHART / "ci/job-values.yaml"),
        *("-s", "templates/job.yaml"),
    ).stdout

    done = run("kubectl", "-n", namespace.name, "apply", "--dry-run=server", "-f", "-", stdin=rendered)

    assert "would violate PodSecurity" not in done.stderr


def test_ct_install_passes(namespace):
    done = run(
        *("ct", "install", "--config", ROOT / "ct.yaml", "--charts", CHART, "--namespace", namespace.name),
        *("--helm-extra-set-args", "--set image.repository={0} --set image.tag={2}".format(*IMAGE.rpartition(":"))),
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_notes_commands_run_the_flow_and_clean_up(namespace):
    notes = namespace.install(flow={"files": {"flow.py": "def main(): return 1\n"}})
    commands = [line.strip() for line in notes.splitlines() if line.startswith("  ") and "kubectl" in line]

    outputs = [run("sh", "-c", command).stdout for command in commands]

    assert len(commands) == 3
    assert "result of main: 1" in outputs[1]
    namespace.kubectl("wait", "--for=delete", "pod", "--all", "--timeout=60s")
