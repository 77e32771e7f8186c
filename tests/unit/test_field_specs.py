"""Specs of the forms that people have, from their files to the pods that a run would create of them."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from dask_flow import cli, log
from dask_flow.errors import InputError
from dask_flow.manifests import RunIdentity, dask_pod
from dask_flow.settings import RunSettings
from dask_flow.specs import parse_spec

FOLDER = Path(__file__).parent / "field_specs"
IDENTITY = RunIdentity("run", "jobs", "run-x", "u-1", "10.0.0.7", "example.org/flow:1")
ADDED = ["--name", "w-0", "--death-timeout", "60"]
TEXT_ADDED = " --name w-0 --death-timeout 60"


def pod_of(text, role="worker"):
    """The pod of a spec, and the warnings, without the file's name."""
    template = parse_spec(text, Path("spec.yaml"), role)
    pod = dask_pod(template, "w-0", RunSettings(target="f"), IDENTITY, "tls://10.0.0.7:8786")
    return pod, [warning.removeprefix("spec.yaml: ") for warning in template.warnings]


def line(container):
    return [*container.get("command", []), *container.get("args", [])]


def of_container(role="worker", **container):
    """The command line that a container becomes, and the warnings."""
    pod, warnings = pod_of(json.dumps({"spec": {"containers": [{"name": "a", **container}]}}), role)
    return line(pod["spec"]["containers"][0]), warnings


# The command line, and how many warnings say that the scheduler's address, or what else, is left out.
TAKEN = {
    "address_by_name_and_old_flags": (
        ["dask", "worker", "--no-dashboard", "--nthreads", "2", "--nworkers", "2"],
        ["dask-scheduler:8786"],
    ),
    "address_by_shell_variable": (
        ["dask", "worker", "--nthreads", "$(nproc)"],
        ["$DASK_SCHEDULER_ADDRESS"],
    ),
    "address_without_scheme": (["dask", "worker", "--nthreads", "2"], ["scheduler.example:8786"]),
    "conda_run": (["conda", "run", "--name", "env", "dask", "worker", "--nthreads", "1"], []),
    "dask_worker_after_a_script": (
        [
            *("tini", "-g", "--", "/usr/bin/prepare.sh"),
            *("dask", "worker", "--nthreads", "2", "--no-dashboard", "--nworkers", "2"),
        ],
        ["$(DASK_SCHEDULER_ADDRESS)"],
    ),
    "ports_and_addresses": (
        ["dask", "worker", "--local-directory", "/tmp"],
        [
            "--scheduler-file /s.json",
            "--host 0.0.0.0",
            "--listen-address tcp://0.0.0.0:9000",
            "--contact-address tcp://1.2.3.4:9000",
            "--worker-port 9000",
            "--protocol tcp",
        ],
    ),
    "sidecar_first": (["dask", "worker", "--nthreads", "2"], []),
}
SHELLS = {
    "login_shell": (
        ["bash", "-lc", "source activate env && dask worker --nthreads 2" + TEXT_ADDED],
        ["$(DASK_SCHEDULER_ADDRESS)"],
    ),
    "shell_in_two_lists": (["bash", "-l", "-c", "dask worker --nthreads 2" + TEXT_ADDED], []),
}
REFUSED = {
    "unexpanded_variable_in_image": [
        "spec.yaml:6: spec.containers[0].image must be an image name such as ",
        "spec.yaml:9: spec.containers[0].args has ${MEM}, which Kubernetes does not replace; write $(MEM)",
    ],
    "words_in_one_argument": [
        "spec.yaml:4: spec.containers[0].args has 'dask-worker --nthreads 2 --no-bokeh', which is one word"
    ],
    "worker_spec_that_runs_a_scheduler": [
        "spec.yaml:4: spec.containers[0].args runs dask scheduler; a worker spec must run dask worker"
    ],
}


def test_every_file_has_its_outcome():
    assert {path.stem for path in FOLDER.iterdir()} == {*TAKEN, *SHELLS, *REFUSED}


@pytest.mark.parametrize("name", {**TAKEN, **SHELLS})
def test_spec_from_the_field_is_taken(name):
    expected, left_out = {**TAKEN, **SHELLS}[name]
    pod, warnings = pod_of((FOLDER / f"{name}.yaml").read_text())
    containers = {container["name"]: container for container in pod["spec"]["containers"]}
    others = [container for name, container in containers.items() if "worker" not in name]

    assert line(containers.get("dask-worker") or containers["worker"]) == [*expected, *ADDED * (name in TAKEN)]
    assert [each.partition(" is left out")[0] for each in warnings if "is left out: the run decides it" in each] == (
        left_out
    )
    assert not any(key in container for container in others for key in ("args", "command", "env", "volumeMounts"))


@pytest.mark.parametrize("name", REFUSED)
def test_spec_from_the_field_is_refused_with_what_to_do(name):
    with pytest.raises(InputError) as caught:
        pod_of((FOLDER / f"{name}.yaml").read_text())

    problems = str(caught.value).splitlines()
    assert len(problems) == len(REFUSED[name]), problems
    for problem, expected in zip(problems, REFUSED[name], strict=True):
        assert problem.startswith(expected)


@pytest.mark.parametrize(
    ("name", "code", "part"),
    [
        ("unexpanded_variable_in_image", 2, "spec.containers[0].image must be an image name"),
        ("login_shell", 0, "source activate env && dask worker --nthreads 2 --name run-xxxxx-worker-0"),
        ("sidecar_first", 0, "kubectl.kubernetes.io/default-container: dask-worker"),
    ],
)
def test_validate_says_the_same_of_a_spec_from_the_field(monkeypatch, tmp_path, name, code, part):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setattr(log, "configure", str)  # the log of the tests stays as it is

    done = CliRunner().invoke(cli.cli, ["validate", "--worker-spec", str(FOLDER / f"{name}.yaml")])

    assert done.exit_code == code, done.output
    assert part in (done.stderr if code else done.stdout)
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    "address",
    [
        "tcp://scheduler:8786",
        "tls://[fd00::1]:8786",
        "scheduler:8786",
        "10.0.0.1:8786",
        "$DASK_SCHEDULER_ADDRESS",
        "$(DASK_SCHEDULER_ADDRESS)",
        "${DASK_SCHEDULER_ADDRESS}",
        "tcp://${SCHEDULER}:8786",
    ],
)
@pytest.mark.parametrize("place", [2, 4, 5, 7], ids=["first", "after a value", "after a flag", "last"])
def test_schedulers_address_is_left_out_in_every_form_with_one_warning(address, place):
    words = ["dask", "worker", "--nthreads", "2", "--no-dashboard", "--resources", "GPU=1"]

    made, warnings = of_container(args=[*words[:place], address, *words[place:]])

    assert made == [*words, *ADDED]
    assert warnings == [f"{address} is left out: the run decides it"]


def test_arguments_of_a_preload_stay_its_own():
    words = ["dask", "worker", "tcp://scheduler:8786", "--preload", "setup.py", "a", "b"]

    made, warnings = of_container(args=words)

    # Without an address, Dask would take the first of them for it.
    assert made == ["dask", "worker", "$(DASK_SCHEDULER_ADDRESS)", "--preload", "setup.py", "a", "b", *ADDED]
    assert warnings == ["tcp://scheduler:8786 is left out: the run decides it"]


@pytest.mark.parametrize(
    ("words", "rest", "left_out"),
    [
        (["--name=mine"], [], ["--name=mine"]),
        (["--port", "1"], [], ["--port 1"]),
        (["--nanny-port", "9001", "--nanny"], ["--nanny"], ["--nanny-port 9001"]),
        (
            ["--tls-ca-file", "/a", "--tls-cert=/b", "--tls-key", "/c"],
            [],
            ["--tls-ca-file /a", "--tls-cert=/b", "--tls-key /c"],
        ),
        (["--lifetime", "1h", "--interface", "net1"], ["--lifetime", "1h", "--interface", "net1"], []),
        (["--of-tomorrow", "5", "--name", "a"], ["--of-tomorrow", "5"], ["--name a"]),
        (["--name"], [], ["--name"]),
    ],
)
def test_option_that_the_run_decides_goes_with_its_value(words, rest, left_out):
    role = "scheduler" if words[0] == "--port" else "worker"

    made, warnings = of_container(role, args=["dask", role, *words])

    assert made[2 : 2 + len(rest)] == rest
    assert made[2 + len(rest)].startswith("--name" if role == "worker" else "--port")
    assert warnings == [f"{option} is left out: the run decides it" for option in left_out]


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ({"command": ["/opt/conda/bin/dask-worker"]}, ["/opt/conda/bin/dask", "worker"]),
        ({"command": ["dask-worker"], "args": ["tcp://a:1"]}, ["dask", "worker"]),
        ({"command": ["dask"], "args": ["worker"]}, ["dask", "worker"]),
        ({"command": ["conda", "run", "-n", "dask-worker", "dask-worker"]}, None),
        (
            {"args": ["python", "-m", "distributed.cli.dask_worker", "a:1"]},
            ["python", "-m", "distributed.cli.dask_worker"],
        ),
        ({"args": ["--nprocs", "2"]}, ["--nworkers", "2"]),
        (
            {"args": ["-g", "--", "dask-worker", "a:1", "--nprocs", "2"]},
            ["-g", "--", "dask", "worker", "--nworkers", "2"],
        ),
        ({"args": ["/start.sh", "--name", "x"]}, ["/start.sh"]),
        (
            {"command": ["/bin/sh", "-c"], "args": ['exec dask-worker "$@"', "--", "a:1", "--nprocs=2"]},
            ["/bin/sh", "-c", 'exec dask worker "$@"', "--", "--nworkers=2"],
        ),
        ({"command": ["/bin/sh", "-c", '/start.sh "$@"']}, ["/bin/sh", "-c", '/start.sh "$@"', "--"]),
        ({"command": ["bash", "/start.sh", "dask-worker"]}, ["bash", "/start.sh", "dask", "worker"]),
        ({"args": ["--local-directory", "/tmp/dask-worker"]}, ["--local-directory", "/tmp/dask-worker"]),
        ({"args": ["/start.sh", "--keep=1", "/data/dask-worker"]}, ["/start.sh", "--keep=1", "/data/dask-worker"]),
        (
            {"command": ["bash", "-c", 'exec dask worker "$@" --nthreads 2'], "args": ["--", "tcp://a:1"]},
            ["bash", "-c", 'exec dask worker "$@" --nthreads 2', "--"],
        ),
        (
            {"command": ["sh", "-c", 'exec "$@"', "--", "dask-worker", "a:1", "--protocol", "tcp"]},
            ["sh", "-c", 'exec "$@"', "--", "dask", "worker"],
        ),
    ],
)
def test_dasks_command_is_brought_up_to_date_wherever_it_stands(container, expected):
    expected = expected or ["conda", "run", "-n", "dask-worker", "dask", "worker"]

    assert of_container(**container)[0] == [*expected, *ADDED]


@pytest.mark.parametrize(
    "start",
    [
        ["sh", "-c"],
        ["/bin/bash", "-lc"],
        ["bash", "-l", "-c"],
        ["bash", "-euxo", "pipefail", "-c"],
        ["bash", "--login", "-o", "pipefail", "-ec"],
        ["bash", "-ceo", "pipefail"],
        ["/usr/bin/tini", "--", "/usr/bin/env", "zsh", "-c"],
        ["bash", "--rcfile", "/etc/profile", "-c"],
        ["bash", "--init-file", "/etc/profile", "-lc"],
    ],
)
def test_shell_is_recognised_in_every_common_form(start):
    assert of_container(args=[*start, "dask-worker --no-bokeh"])[0] == [
        *start,
        "dask worker --no-dashboard" + TEXT_ADDED,
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("exec dask-worker $SCHEDULER:8786 --nthreads 2", "exec dask worker --nthreads 2 ADDED"),
        ('dask worker "${DASK_SCHEDULER_ADDRESS}" --name "w $HOSTNAME"', "dask worker ADDED"),
        ("echo starting dask worker; dask worker a:1", "echo starting dask worker; dask worker ADDED"),
        (
            "set -e\nexec dask-worker \\\n  --nthreads 2 \\\n  a:1\n",
            "set -e\nexec dask worker \\\n  --nthreads 2 ADDED\n",
        ),
        ("dask worker > /tmp/log 2>&1", "dask worker > /tmp/log 2>&1 ADDED"),
        ("serve & exec dask worker", "serve & exec dask worker ADDED"),
        ("dask worker && echo end", "dask worker ADDED && echo end"),
        ("dask worker --nthreads $N --memory-limit `mem`", "dask worker --nthreads $N --memory-limit `mem` ADDED"),
        ("dask worker 2>&1 | tee log", "dask worker 2>&1 ADDED | tee log"),
        ("(cd /x && dask worker) # for ever", "(cd /x && dask worker ADDED) # for ever"),
        ("if true; then dask-worker; fi", "if true; then dask worker ADDED; fi"),
        (
            "dask worker --nthreads $(($(nproc) / 2)); echo end",
            "dask worker --nthreads $(($(nproc) / 2)) ADDED; echo end",
        ),
        ("conda run --name env dask-worker", "conda run --name env dask worker ADDED"),
        (
            "exec dask worker --death-timeout 5 --memory-limit $MEM",
            "exec dask worker --death-timeout 5 --memory-limit $MEM --name w-0",
        ),
    ],
)
def test_runs_options_reach_dask_in_a_shells_text(text, expected):
    assert of_container(command=["bash", "-c", text])[0][2] == expected.replace(" ADDED", TEXT_ADDED)


@pytest.mark.parametrize(
    "text",
    [
        "/start.sh",
        "dask worker & wait; dask worker & wait",
        "dask worker & exec dask worker",
        "for i in 1 2; do dask-worker & done; wait",
        "(dask worker) &\nwait",
        "cat <<EOF\ndask worker\nEOF",
        "dask worker 'x",
        'start() { dask worker "$@"; }; start',
        "$RUN dask",
    ],
)
def test_shells_text_that_cannot_be_read_is_refused_with_what_to_write(text):
    with pytest.raises(InputError) as caught:
        of_container(command=["sh", "-c", text])

    assert (
        "spec.yaml:1: spec.containers[0].command gives a shell's -c text, to which the worker's options cannot be added"
    ) in str(caught.value)
    assert "'exec dask worker \"$@\"'" in str(caught.value)


def test_operators_name_of_a_worker_reaches_dask_in_a_shells_text():
    template = parse_spec('{"spec": {"containers": [{"command": [sh, -c, dask worker]}]}}', Path("spec.yaml"))

    pod = dask_pod(template, "$(DASK_WORKER_NAME)", RunSettings(target="f"), IDENTITY, "tcp://s:8786")

    assert "--name '$(DASK_WORKER_NAME)'" in pod["spec"]["containers"][0]["command"][2]


@pytest.mark.parametrize(
    ("containers", "name"),
    [
        ([{"name": "worker", "args": ["sleep"]}, {"name": "a", "args": ["dask", "worker"]}], "a"),
        ([{"name": "a", "args": ["dask", "worker"]}, {"name": "worker", "args": ["dask", "worker"]}], "worker"),
        ([{"name": "log"}, {"name": "worker"}], "worker"),
        ([{"name": "log"}, {"name": "my-dask-worker"}], "my-dask-worker"),
        ([{"name": "log"}, {"name": "a", "command": ["sh", "-c", "exec dask-worker"]}], "a"),
        ([{"name": "log", "args": ["dask", "scheduler"]}, {"name": "a", "args": ["dask", "worker"]}], "a"),
        ([{"image": "own"}, {"name": "log"}], "worker"),
        ([{"name": "log", "args": ["tail", "-F", "/var/log/dask-worker"]}, {"name": "worker"}], "worker"),
    ],
)
def test_dasks_container_is_the_one_that_runs_dask_else_the_one_of_its_name(containers, name):
    pod, _ = pod_of(json.dumps({"spec": {"containers": containers}}))

    assert [each["name"] for each in pod["spec"]["containers"] if "--name w-0" in " ".join(line(each))] == [name]
    assert [each["name"] for each in pod["spec"]["containers"] if "env" in each] == [name]
    assert pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"] == name


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"containers": [{"name": "a"}, {"name": "b"}]},
            "spec.containers has none that runs dask worker, or is named so",
        ),
        ({"containers": [{"args": ["dask worker"]}]}, 'write ["dask", "worker"]'),
        ({"containers": [{"args": ["dask", "worker --nthreads 2"]}]}, 'write ["worker", "--nthreads", "2"]'),
        ({"containers": [{"args": ["dask", "worker", "--nthreads 2"]}]}, 'write ["--nthreads", "2"]'),
        ({"containers": [{"args": ["tini -- dask-worker"]}]}, 'write ["tini", "--", "dask-worker"]'),
        ({"containers": [{"args": ["exec dask-worker --nthreads 1"]}]}, 'write ["dask-worker", "--nthreads", "1"]'),
        ({"containers": [{"args": ["/a.sh python -m distributed.cli.dask_worker"]}]}, 'write ["/a.sh", "python", "-m"'),
        ({"containers": [{"args": ["conda", "run -n env dask worker"]}]}, 'write ["run", "-n", "env", "dask"'),
        (
            {"containers": [{"args": ["dask-worker", "--nthreads", "2 --no-dashboard"]}]},
            'write ["2", "--no-dashboard"]',
        ),
        ({"containers": [{"args": ["--nthreads", "2 --no-dashboard"]}]}, 'write ["2", "--no-dashboard"]'),
        ({"containers": [{"args": ["dask", "worker", "--nthreads", "many"]}]}, "has --nthreads many: give a whole"),
        ({"containers": [{"args": ["dask-worker", "--memory-limit=4 gigs"]}]}, "has --memory-limit 4 gigs: give"),
        ({"containers": [{"args": ["dask", "worker", "--local-directory", "$TMP"]}]}, "write $(TMP)"),
        (
            {"containers": [{"args": ["dask", "worker", "--nworkers", "²"]}]},
            "has --nworkers ²: give a number from 1 to",
        ),
        (
            {"containers": [{"args": ["dask", "worker", "--nworkers", "0"]}]},
            "has --nworkers 0: give a number from 1 to",
        ),
        ({"containers": [{"args": ["dask", "worker", "--nworkers=-1"]}]}, "has --nworkers -1: give a number from 1 to"),
        ({"containers": [{"args": ["dask", "worker", "--nworkers", "9" * 20]}]}, "give a number from 1 to"),
        (
            {"containers": [{"command": ["sh", "-c", "dask worker --nworkers auto"]}]},
            "has --nworkers auto: give a number",
        ),
        ({"replicas": int("9" * 20)}, "spec.replicas must be a whole number from 1 to"),
        ({"containers": [{"image": ""}]}, "spec.containers[0].image must be an image name"),
        ({"containers": [{"image": "My/Image:1 "}]}, "spec.containers[0].image must be an image name"),
        (
            {"initContainers": [{"name": "a", "image": "a:$TAG"}]},
            "Kubernetes replaces no variables there; use {{ env.TAG }}",
        ),
    ],
)
def test_what_cannot_run_is_refused(spec, message):
    with pytest.raises(InputError) as caught:
        pod_of(json.dumps({"spec": spec}))

    assert len(str(caught.value).splitlines()) == 1
    assert message in str(caught.value)


def test_script_that_starts_the_scheduler_gets_the_runs_ports():
    made, _ = of_container("scheduler", args=["/start.sh", "--port", "1", "--show"])

    assert made[:4] == ["/start.sh", "--show", "--port", "8786"]


def test_scheduler_spec_that_runs_a_worker_is_refused():
    with pytest.raises(InputError, match="a scheduler spec must run dask scheduler"):
        of_container("scheduler", args=["dask-worker"])


@pytest.mark.parametrize(
    ("spec", "advice"),
    [
        (
            "kind: DaskCluster\nspec:\n  scheduler: {spec: {containers: []}}\n  worker: {spec: {containers: []}}",
            "spec.worker",
        ),
        ("kind: DaskJob\nspec: {cluster: {spec: {worker: {spec: {containers: []}}}}}", "spec.cluster.spec.worker"),
        ("kubernetes: {worker-template: {spec: {containers: []}}}", "kubernetes.worker-template"),
        ("pod_template:\n  metadata: {}\n  spec: {containers: []}", "pod_template"),
        ("kind: Deployment\nspec: {template: {spec: {containers: []}}}", "spec.template"),
    ],
)
def test_pod_template_inside_of_something_else_is_refused_with_what_to_copy(spec, advice):
    with pytest.raises(InputError) as caught:
        pod_of(spec)

    (problem,) = str(caught.value).splitlines()
    assert problem.startswith("spec.yaml:1: this is a")
    assert problem.endswith(f", not a Pod; copy metadata: and spec: of {advice} into a file of its own")
