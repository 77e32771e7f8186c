"""How each command of the README and the docs is run: here, on a Kubernetes node, or why not."""

import re

from doc_commands import ROOT, Scenario, commands, shown

HELLO = {"flow.py": (ROOT / "examples/hello.py").read_text(encoding="utf-8")}
SLEEPS = {"flow.py": "import time\n\ndef main(client):\n    client.submit(time.sleep, 600).result()\n"}
UPGRADE = "helm upgrade weather charts/dask-flow -n tutorial --reuse-values \\\n  --set"
# What a step may need before or behind it.
ENDED = "kubectl wait --for=condition=complete job/monday --timeout=120s"
ENDED_ON_IT = "kubectl wait -n dask --for=condition=complete job/{0} --timeout=120s"
ON_IT = f"""
kubectl create job -n dask --from=cronjob/cluster-dask-flow {{0}}
{ENDED_ON_IT}"""
ROLLED_OUT = """
kubectl rollout status -n dask deployment/cluster-dask-flow-scheduler --timeout=120s
kubectl rollout status -n dask deployment/cluster-dask-flow-worker --timeout=120s"""
IS_RUNNING = """
helm install nightly charts/dask-flow --set-file 'flow.files.flow\\.py=flow.py'
kubectl create job --from=cronjob/nightly-dask-flow monday
until kubectl logs job/monday 2>/dev/null | grep 'first worker joined'; do sleep 0.5; done
RUNNER=$(kubectl get pods -l batch.kubernetes.io/job-name=monday -o 'jsonpath={.items[0].metadata.name}')"""
SUSPENDED = """
kubectl wait --for=condition=Suspended job/monday --timeout=60s
kubectl wait --for=delete pod --all --timeout=60s"""

# Run on this machine, without Kubernetes.
LOCAL = [
    Scenario(
        pages=("README.md",),
        steps=("dask-flow run flow.py",),
        files={"flow.py": shown("README.md", "from dask_flow import")},
        says={"": "result of sum: 21"},
    ),
    Scenario(
        pages=("docs/bring-your-flow.md",),
        steps=("dask-flow run flow.py --param 'numbers=[4, 5]'",),
        files={"flow.py": shown("docs/bring-your-flow.md", "from dask_flow import").partition("\ndask-flow")[0]},
        says={"": "result of sum: 41"},
    ),
    Scenario(
        pages=("docs/bring-your-flow.md",),
        steps=("dask-flow run examples/function.py", "python examples/script.py"),
        says={"dask-flow": "result of main: 168", "python": "pi is about 3.1"},
    ),
    Scenario(
        pages=("docs/graph.md",),
        steps=("dask-flow graph examples/flights.py",),
        says={"": "flowchart"},
        after={"": "ls flights.html flights.svg"},
    ),
    Scenario(
        pages=("docs/clusters.md",),
        steps=("dask-flow run flow.py",),
        files=HELLO,
        says={"": "the flow succeeded"},
    ),
    Scenario(
        pages=("docs/scaling.md",),
        steps=("dask-flow run flow.py --min-workers 4",),
        files=HELLO,
        says={"": "(?s)the flow succeeded.*the flow succeeded"},
    ),
    Scenario(
        pages=("docs/specs.md",),
        steps=("dask-flow validate --worker-spec", "dask-flow validate flow.py >pods.yaml"),
        files={**HELLO, "worker_spec.yaml": shown("docs/specs.md", "kind: Pod\nspec:\n  nodeselector")},
        codes={"dask-flow validate --worker-spec": 2},
        says={
            "dask-flow validate --worker-spec": ".*\n".join(
                re.escape(re.sub(r"^\d\d:\d\d:\d\d ", "", line))
                for line in shown("docs/specs.md", "$ dask-flow validate").splitlines()[1:]
            )
        },
        after={"dask-flow validate flow.py": "grep 'kind: Pod' pods.yaml"},
    ),
    Scenario(
        pages=("docs/report.md",),
        steps=("dask-flow run flow.py --report reports",),
        files=HELLO,
        says={"": r"reports/\S+/report\.html"},
    ),
    Scenario(
        pages=("docs/images.md",),
        steps=("dask-flow build flow.py --print",),
        files=HELLO,
        says={"": "^FROM "},
    ),
    Scenario(
        pages=("docs/submit.md",),
        steps=("dask-flow completion fish",),
        instead={"| source": "| grep dask-flow"},
    ),
    Scenario(pages=("docs/operator.md",), steps=("dask-flow validate --cluster operator",), says={"": "kind: Pod"}),
    Scenario(pages=("docs/troubleshooting.md",), steps=("dask-flow run --help",), says={"": "--min-workers"}),
]

# Run on a Kubernetes node, with the images of the tests.
CLUSTER = [
    Scenario(
        pages=("docs/tutorial.md",),
        steps=tuple(each.text for each in commands(ROOT / "docs/tutorial.md")),
        files={"weather.py": shown("docs/tutorial.md", "import random")},
        namespaces=("tutorial",),
        fresh=True,
        says={
            "python3 -m venv": "^dask-flow, version ",
            "dask-flow run weather.py --param count=200 ": "measured: 200 items",
            "dask-flow run weather.py --param count=many": "(?s)TypeError: .*exit code 1$",
            "dask-flow run weather.py": "result of warmest: station 14",
            "kubectl create namespace": "(?s)kind: Pod.*would take them in namespace",
            "kubectl create job": "result of warmest: station 14",
            "ENDED=": "^3 +the workers cannot start: pod ",
            "dask-flow submit weather.py": "(?s)measured: 50 items.*the flow succeeded.*Succeeded",
            "kubectl get pods -n tutorial": r"\ANAME .*\nfirst-\S+ .*\n\Z",
            f"{UPGRADE} flow.params": "measured: 2,000 items",
            f"{UPGRADE} cluster.image=l": "error: the workers cannot start: pod .*: ErrImagePull",
            f"{UPGRADE} cluster.image= ": "0 3 ",
        },
        codes={f"{UPGRADE} cluster.image=l": 3},
        after={f"{UPGRADE} cluster.image=l": "kubectl wait -n tutorial --for=condition=failed job/third --timeout=60s"},
    ),
    Scenario(
        pages=("README.md",),
        steps=("make demo",),
        instead={"make demo": "make -C $ROOT -o .venv/demo demo", "make test ": ": what runs this "},
        says={"": "the flow succeeded"},
    ),
    Scenario(
        pages=("README.md",),
        steps=("make node-load",),
        instead={"make node-load && export KUBECONFIG=$(make --silent node-up)": ": the node has its images"},
        namespaces=("flights",),
        says={"": "the flow succeeded"},
        ends={"monday": 0},
    ),
    Scenario(
        pages=("charts/dask-flow/README.md",),
        steps=("helm install nightly .",),
        files=HELLO,
        instead={"helm install nightly .": "helm install nightly charts/dask-flow"},
        ends={"run-1": 0},
    ),
    Scenario(
        pages=("docs/bring-your-flow.md",),
        steps=("helm install pi", "helm install nightly charts/dask-flow --set flow.target=nightly.py"),
        files={
            "flows/nightly.py": "import common\n\ndef main(client):\n    return client.submit(common.double, 21)\n",
            "flows/common.py": "def double(n):\n    return 2 * n\n",
        },
        after={"helm install nightly": "kubectl create job --from=cronjob/nightly-dask-flow tuesday"},
        ends={"monday": 0, "tuesday": 0},
    ),
    Scenario(
        pages=("docs/migration.md",),
        steps=("helm install nightly charts/dask-flow --set image.repository=gcr.io",),
        files={**HELLO, "worker_spec.yaml": shown("docs/specs.md", "kind: Pod\nmetadata")},
    ),
    Scenario(
        pages=("docs/migration.md",),
        steps=("helm install cluster charts/dask-flow", "helm install nightly charts/dask-flow -f"),
        files={**HELLO, "values.yaml": shown("docs/migration.md", "image: {repository: registry")},
    ),
    Scenario(
        pages=("docs/specs.md", "docs/migration.md"),
        steps=(
            "helm install nightly charts/dask-flow --set-file",
            "kubectl create job --from=cronjob/nightly-dask-flow",
            "kubectl wait --for=condition=complete",
        ),
        files={
            **HELLO,
            "worker_spec.yaml": "spec: {terminationGracePeriodSeconds: 5}\n",
            "scheduler_spec.yaml": "spec: {terminationGracePeriodSeconds: 5}\n",
        },
        ends={"monday": 0},
    ),
    Scenario(
        pages=("docs/running-flows.md", "docs/troubleshooting.md"),
        steps=(
            "helm install nightly charts/dask-flow --set-file",
            "kubectl logs job/monday\n",
            "kubectl logs job/monday",
            "kubectl get pods -l app.kubernetes.io/component=worker",
            "kubectl describe pod -l batch",
            "kubectl describe job monday",
            "helm list -A",
        ),
        files=HELLO,
        says={"kubectl logs job/monday\n": r"^monday-\w+ +0 +the flow succeeded$", "helm list -A": "nightly"},
        after={"helm install nightly": ENDED},
        ends={"monday": 0},
    ),
    Scenario(
        pages=("docs/security.md", "docs/clusters.md", "docs/running-flows.md", "docs/failures.md", "docs/names.md"),
        before=IS_RUNNING,
        steps=(
            "kubectl get pods -l dask-flow/run=monday",
            "kubectl port-forward -n NAMESPACE pod/RUNNER",
            "kubectl port-forward pod/RUNNER",
            "kubectl patch job RUN -p",
        ),
        files=SLEEPS,
        instead={"-n NAMESPACE ": "", "RUNNER": "$RUNNER", "job RUN ": "job monday "},
        says={"kubectl get pods": r"^monday-\w+-worker-0 ", "kubectl port-forward": "Forwarding from"},
        after={"kubectl patch": SUSPENDED},
    ),
    Scenario(
        pages=("docs/submit.md",),
        before="kubectl create namespace data",
        steps=("helm install flows", "R=$("),
        files={"flow.py": "def main(days: int = 1):\n    return days * 6\n"},
        instead={"flow-x7k2p": "$(dask-flow list -n data -o name)"},
        namespaces=("data",),
        says={"helm install": "(?s)result of main: 42.*Succeeded", "R=": "(?s)result of main: 6.*exit code 0"},
    ),
    Scenario(
        pages=("docs/images.md",),
        steps=("helm install nightly charts/dask-flow --set-string image.repository", "kubectl create secret"),
        instead={
            "--docker-password=…": "--docker-password=secret",
            "me/nightly …": "me/nightly",
            "helm install nightly charts/dask-flow --set 'image": "helm upgrade nightly charts/dask-flow --set 'image",
        },
    ),
    Scenario(
        pages=("docs/operator.md",),
        steps=("helm install nightly charts/dask-flow --set cluster.mode=operator",),
        files=HELLO,
        instead={"kubectl create job": ": needs the operator: kubectl create job"},
    ),
    Scenario(
        pages=("docs/static-clusters.md",),
        steps=(
            "kubectl create namespace dask",
            "kubectl port-forward -n dask service/dask-scheduler",
            "kubectl port-forward -n dask service/cluster-dask-flow-dashboard",
            "EC=",
            "kubectl rollout restart",
            "helm upgrade …",
        ),
        instead={
            "helm upgrade …": "helm upgrade cluster charts/dask-flow -n dask --reuse-values",
            "replicas=6": "replicas=1",
        },
        namespaces=("dask",),
        says={"kubectl port-forward": "Forwarding from"},
        after={
            "kubectl create namespace dask": ENDED_ON_IT.format("monday"),  # the upgrade to TLS is between runs
            "EC=": ROLLED_OUT + ON_IT.format("tuesday"),
            "kubectl rollout restart": ROLLED_OUT,
            "helm upgrade": ROLLED_OUT,
        },
        ends={"monday": 0, "tuesday": 0},
    ),
]

BY_TESTS = "the node is brought up, and the tests are run, by these very commands"
DOCKERFILE = "what the Dockerfile does, with the image's Python"
REGISTRY = "needs a registry; tests/e2e/test_registry.py::test_seeds_docker_storage_is_built_pushed_and_run"
ARGO = "needs Argo Workflows; tests/e2e/test_chart.py::test_argo_judges_a_run_by_its_job_and_outputs_the_reason"
SUBMIT = "tests/e2e/test_submit.py::test_run_is_detached_listed_followed_and_cancelled_with_the_documented_role"
NOTIFIED = "tests/e2e/test_failures.py::test_quota_without_room_is_the_reason_and_is_told_once_after_the_last_attempt"
NOT_PUBLISHED = "not published yet; tests/unit/test_doc_commands.py::test_extras_that_the_docs_install_exist"
ONLINE = "needs a host that tests do not reach"
# Not run as they are, and why. A test that does the same, as FILE::TEST, must exist.
ELSEWHERE = {
    ("CONTRIBUTING.md", "make test-fast"): BY_TESTS,
    ("README.md", "dask-flow logs -f"): "the form of a command above it",
    (
        "README.md",
        "kubectl logs -n flights",
    ): "for those without dask-flow: the log of an attempt that the line above it shows",
    ("README.md", "pip install ./runner"): "a part of the tutorial's first step",
    ("docs/argo-cd.md", "kubectl create job --from"): "an option",
    ("docs/argo-workflows.md", "helm install nightly"): ARGO,
    ("docs/argo-workflows.md", "kubectl get workflow"): ARGO,
    ("docs/argo-workflows.md", "kubectl logs"): ARGO,
    ("docs/argo-workflows.md", "dask-flow logs"): ARGO,
    ("docs/environments.md", "helm install nightly"): (
        "tests/e2e/test_chart.py::test_ct_installs_tests_and_upgrades_the_chart_and_nothing_is_left"
    ),
    ("docs/environments.md", "kubectl create job"): "the form of a command that other pages have",
    ("docs/images.md", "dask-flow build flow.py --image"): REGISTRY,
    ("docs/images.md", "image=$("): REGISTRY,
    ("docs/images.md", "docker login"): REGISTRY,
    ("docs/images.md", "make image"): "needs a registry's base image; the node's images are made by it",
    ("docs/images.md", "dask-flow build flow.py -- "): "needs a builder for another platform",
    ("docs/running-flows.md", "dask-flow submit flow.py --watch"): "docs/submit.md has it with a namespace",
    ("docs/running-flows.md", "kubectl create secret generic alerts"): NOTIFIED,
    ("docs/running-flows.md", "helm install nightly charts/dask-flow --set run.notify"): NOTIFIED,
    ("docs/running-flows.md", "pip install 'dask-flow[notify]'"): NOT_PUBLISHED,
    ("docs/submit.md", "pip install ./runner"): "a part of the tutorial's first step",
    ("docs/submit.md", "kubectl create job RUN"): "the form of a command that other pages have",
    ("docs/submit.md", "dask-flow logs -f"): SUBMIT,
    ("docs/submit.md", "dask-flow cancel $("): "tests/unit/test_runs.py::test_run_may_be_named_as_list_and_kubectl_do",
    ("docs/submit.md", "kubectl logs -f job/RUN"): "the form of a command that other pages have",
    ("docs/submit.md", "dask-flow setup flow.py"): (
        "tests/unit/test_setup.py::test_flow_s_deprecated_arguments_still_name_the_secret_and_say_what_replaces_them"
    ),
    ("docs/submit.md", "docker login"): (
        "needs a registry; tests/e2e/test_submit.py::test_setup_makes_the_pull_secret_of_the_login_that_is_here"
    ),
    ("docs/submit.md", "helm upgrade … --set run.mode=template"): "what a message says",
    ("docs/bring-your-flow.md", "dask-flow run https://"): (
        f"{ONLINE}; tests/e2e/test_scripts.py::test_function_comes_from_a_url"
    ),
    ("docs/bring-your-flow.md", "dask-flow run flow.py --param 'cities"): (
        "needs Prefect; tests/prefect/test_prefect3.py::test_example_runs_by_the_command"
    ),
    ("docs/bring-your-flow.md", "dask-flow run flow.py --param limit"): (
        "needs Prefect; tests/prefect/test_prefect1.py::test_example_runs_by_the_command"
    ),
    ("docs/bring-your-flow.md", "pip install 'dask-flow[s3]'"): NOT_PUBLISHED,
    ("docs/bring-your-flow.md", "pip install 'dask-flow[gs]'"): NOT_PUBLISHED,
    ("docs/bring-your-flow.md", "pip install 'dask-flow[abfs]'"): NOT_PUBLISHED,
    ("docs/bring-your-flow.md", "pip install 'dask-flow[prefect]'"): NOT_PUBLISHED,
    ("docs/bring-your-flow.md", "pip install 'dask-flow[prefect1]'"): NOT_PUBLISHED,
    ("docs/clusters.md", "kubectl port-forward svc/RUNNER-scheduler"): "needs a running operator, whose Service it is",
    ("docs/graph.md", "dask-flow graph flow.py --format dot"): (
        "needs Graphviz; tests/unit/test_graph.py::test_dot_is_read_by_graphviz"
    ),
    ("docs/operator.md", "helm dependency build"): (
        f"{ONLINE}; tests/e2e/test_operator.py::test_release_with_the_operator_runs_its_flow_on_a_cluster_of_it"
    ),
    ("docs/operator.md", "helm install --repo"): f"{ONLINE}; installs for the whole cluster",
    ("docs/operator.md", "kubectl get daskclusters"): "needs the operator's kinds of objects",
    ("docs/static-clusters.md", "dask-flow run flow.py --address"): (
        "needs the image's Python; tests/e2e/test_static.py::test_flow_runs_from_outside_through_a_port_forward"
    ),
    ("docs/static-clusters.md", "pip install -r runner/requirements.lock"): DOCKERFILE,
    ("docs/static-clusters.md", "pip install --no-deps ./runner"): DOCKERFILE,
}
# Measurements take minutes on a machine that does nothing else: of the commands of this page the options are tried.
BENCHES = "docs/benchmarks.md"
