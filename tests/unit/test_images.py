"""`dask-flow build` with builders that only write down what they are asked for."""

import dataclasses
import json
import os
import re
import subprocess
import sys

import pytest
from dask_flow import cli_build, image_names
from dask_flow.declarations import Docker, settings_of
from dask_flow.errors import InputError
from dask_flow.images import BuildOptions, Built, planned, render
from dask_flow.targets import check, load
from dask_flow.targets.own_files import installed
from seeds import seed, with_our_imports

HEAD = "from dask_flow import Flow, task\nfrom dask_flow.storage import Docker\n@task\ndef one(): return 1\n"
CHECK = 'RUN ["dask-flow-entrypoint", "python", "-m", "dask_flow.targets.check", "{}"]'
DIGEST = f"sha256:{'0123456789abcdef' * 4}"
# Keeps its arguments, and what a build's context has, in $ASKED; then does what the case says.
BUILDER = """#!{python}
import json, os, pathlib, sys
words = sys.argv[1:]
asked = pathlib.Path(os.environ["ASKED"])
context = {{}}
if "build" in words:
    dockerfile, folder = map(pathlib.Path, words[-2:])
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    context = {{"dockerfile": dockerfile.read_text(), "files": files}}
with asked.open("a") as file:
    file.write(json.dumps([os.path.basename(sys.argv[0]), words, context]) + "\\n")
{action}
"""
DIGESTS = (
    f"if '--digestfile' in words: pathlib.Path(words[words.index('--digestfile') + 1]).write_text('{DIGEST}')\n"
    f"elif 'push' in words: print('0.1.0: digest: {DIGEST} size: 1234')\n"
)


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        if not installed(getattr(sys.modules[name], "__file__", None) or "/site-packages/"):
            del sys.modules[name]


def write(folder, text, name="nightly.py"):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def flow(storage="Docker(registry_url='gcr.io/dev/', image_name='etl', image_tag='0.1.0')"):
    return f"{HEAD}flow = Flow('Nightly ETL', tasks=[one], storage={storage})\n"


def plan(folder, storage="None", **options):
    return planned(str(write(folder, flow(storage))), BuildOptions(**options))


def lines(image):
    return render(image).splitlines()


def builder(folder, name, action=DIGESTS):
    path = write(folder, BUILDER.format(python=sys.executable, action=action), f"bin/{name}")
    path.chmod(0o755)


def build(folder, *args, code=0):
    """Run the command where only the builders that the test has made are; return it, and what they were asked for."""
    env = {**os.environ, "PATH": str(folder / "bin"), "ASKED": str(folder / "asked")}
    (folder / "asked").write_text("")
    command = [sys.executable, "-m", "dask_flow", "build", *map(str, args)]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done, [json.loads(line) for line in (folder / "asked").read_text().splitlines()]


def test_image_of_a_flow_without_storage_has_its_file_and_the_flows_name(tmp_path):
    image = plan(tmp_path)

    assert image.name == "nightly-etl:latest"
    assert not image.push
    assert lines(image) == [
        "FROM ghcr.io/dask-flow/dask-flow:0.1.0",
        "USER 0",
        "ENV PYTHONPATH=/opt/flow",
        'COPY ["dask-flow/code/", "/opt/flow/"]',
        "USER 1000:1000",
        CHECK.format("/opt/flow/nightly.py"),
    ]


def test_dockerfile_has_all_that_the_storage_declares(tmp_path):
    write(tmp_path, "x", "data/x.txt")
    storage = (
        "Docker(registry_url='gcr.io/dev', image_name='etl', base_image='me/base:1', files={'data': '/srv/data'},"
        "env_vars={'A': 'it is \"$HOME\"', 'N': 1}, python_dependencies=['pandas<3', 'x[y]'],"
        "prefect_directory='/srv/flows', extra_dockerfile_commands=['RUN true', 'LABEL a=b'], ignore_healthchecks=True)"
    )

    image = plan(tmp_path, storage)

    assert (image.name, image.push) == ("gcr.io/dev/etl:latest", True)
    assert lines(image) == [
        "FROM me/base:1",
        "USER 0",
        "ENV PYTHONPATH=/srv/flows",
        r'ENV A="it is \"$HOME\""',
        'ENV N="1"',
        "RUN pip install --no-cache-dir 'pandas<3' 'x[y]'",
        'COPY ["data", "/srv/data"]',
        'COPY ["dask-flow/code/", "/srv/flows/"]',
        "RUN true",
        "LABEL a=b",
        "USER 1000:1000",
    ]


def test_options_win_over_the_storage_and_add_to_its_lists(tmp_path):
    for name in ("one.txt", "two.txt", "requirements.txt"):
        write(tmp_path, "x", name)
    storage = (
        "Docker(registry_url='gcr.io', image_name='etl', dockerfile='not.there', env_vars={'A': '1', 'B': '1'},"
        "python_dependencies=['a'], files={'one.txt': '/one'}, ignore_healthchecks=True)"
    )

    image = plan(
        tmp_path,
        storage,
        image="etl:2",
        base_image="mine:3",
        requirement=tmp_path / "requirements.txt",
        python_dependencies=("b",),
        env=("B=2=2", "C="),
        files=("two.txt:/two", "two.txt:/second"),
        check=True,
    )

    assert (image.name, image.push, image.check) == ("etl:2", False, True)
    text = render(image)
    assert text.startswith("FROM mine:3\n")
    assert 'ENV A="1"\nENV B="2=2"\nENV C=""\n' in text
    assert "-r /tmp/requirements.txt" in text
    assert "RUN pip install --no-cache-dir a b\n" in text
    assert 'COPY ["one.txt", "/one"]\nCOPY ["two.txt", "/two"]\nCOPY ["two.txt", "/second"]\n' in text


@pytest.mark.parametrize(
    "storage", ["Docker('ghcr.io/me')", "Docker('ghcr.io/me', image_tag='2')", "Docker(image_name='etl')"]
)
def test_run_uses_the_image_that_the_build_names(tmp_path, storage):
    image = plan(tmp_path, storage)

    assert settings_of(load(str(tmp_path / "nightly.py")).flow)["image"] == image.name


def test_seeds_docker_storage_names_its_image(tmp_path):
    text = seed("dask-kubernetes-environment.txt")
    write(tmp_path, text[text.index("kind: Pod\n") :].partition("from prefect")[0], "worker_spec.yaml")
    path = write(tmp_path, with_our_imports(text[text.rindex("from prefect import task, Flow") :]))

    image = planned(str(path), BuildOptions())

    assert (image.name, image.push) == ("gcr.io/dev/dask-k8s-flow:0.1.0", True)
    assert sorted(image.code.files) == ["nightly.py", "worker_spec.yaml"]


@pytest.mark.parametrize(
    ("storage", "place"),
    [
        ("Docker(path='/srv/etl.py')", "/srv/etl.py"),
        ("Docker(path='/srv/etl.py', stored_as_script=True)", "/srv/etl.py"),
        ("Docker(prefect_directory='/srv/flows/')", "/srv/flows/nightly.py"),
    ],
)
def test_flow_is_where_the_storage_says(tmp_path, storage, place):
    image = plan(tmp_path, storage)

    assert image.code.target == place
    assert lines(image)[-1] == CHECK.format(place)
    assert ("COPY" in render(image)) is ("stored_as_script" not in storage)


def test_modules_beside_the_flow_and_its_worker_spec_come_along(tmp_path):
    write(tmp_path, "x = 1\n", "flows/common.py")
    write(tmp_path, "", "flows/lookup/__init__.py")
    write(tmp_path, "1,2", "flows/lookup/data.csv")
    write(tmp_path, "", "flows/other.py")
    write(tmp_path, "kind: Pod\n", "flows/worker_spec.yaml")
    write(tmp_path, "kind: Pod\n", "specs/scheduler.yaml")
    text = flow("None").replace("storage=None", "environment=environment").replace("flow =", (
        "import common, lookup\nfrom dask_flow.environments import DaskKubernetesEnvironment\n"
        "environment = DaskKubernetesEnvironment(worker_spec_file='worker_spec.yaml',"
        "scheduler_spec_file='specs/scheduler.yaml')\nflow ="
    ))  # fmt: skip
    builder(tmp_path, "docker")

    _, asked = build(tmp_path, write(tmp_path, text, "flows/nightly.py"))

    code = [name.removeprefix("dask-flow/code/") for name in asked[-1][2]["files"] if "code" in name]
    assert code == [
        "common.py", "lookup/__init__.py", "lookup/data.csv", "nightly.py", "specs/scheduler.yaml", "worker_spec.yaml"
    ]  # fmt: skip


def test_module_keeps_its_name_in_the_image(tmp_path):
    write(tmp_path, "", "my_flows_package/__init__.py")
    write(tmp_path, flow("None"), "my_flows_package/nightly.py")
    write(tmp_path, flow("None"), "my_flows_module.py")

    image = planned("my_flows_package.nightly:flow", BuildOptions())

    assert image.code.target == "my_flows_package.nightly:flow"
    assert sorted(image.code.files) == ["my_flows_package/__init__.py", "my_flows_package/nightly.py"]
    assert list(planned("my_flows_module", BuildOptions()).code.files) == ["my_flows_module.py"]


def test_function_and_script_are_put_into_an_image_too(tmp_path):
    function = write(tmp_path, "def main(client): ...\ndef other(client): ...\n")
    script = write(tmp_path, "from distributed import Client\nClient()\n", "script.py")

    images = [planned(target, BuildOptions()) for target in (f"{function}:other", str(script))]

    assert [image.code.target for image in images] == ["/opt/flow/nightly.py:other", "/opt/flow/script.py"]
    assert [image.name for image in images] == ["nightly:latest", "script:latest"]


@pytest.mark.parametrize(
    ("storage", "options", "said"),
    [
        ("Docker(files={'/not/there': '/x'})", {}, "files: there is no such file: /not/there"),
        ("Docker(files={'a/x': '/1', 'b/x': '/2'})", {}, "two are called 'x'"),
        ("Docker(dockerfile='Dockerfile.no')", {}, "dockerfile: there is no such file: .*Dockerfile.no"),
        ("None", {"env": ("A",)}, "--env A is not NAME=VALUE"),
        ("None", {"files": ("a/x",)}, "--file a/x is not SOURCE:PLACE"),
        ("None", {"image": "etl@sha256:0"}, "name NAME:TAG"),
        ("None", {"image": "Bad Image"}, "'Bad Image:latest': its part 'Bad Image' is not of small letters"),
        ("None", {"image": "team//etl"}, "its part '' is not of small letters"),
        ("None", {"image": "https://gcr.io/etl"}, "its registry 'https:' is not HOST or HOST:PORT"),
        ("None", {"image": "etl:-1"}, "its tag '-1' is not of at most 128"),
        ("Docker(registry_url='gcr.io/dev', image_name='ETL')", {}, "'gcr.io/dev/ETL:latest': its part 'ETL'"),
        ("None", {"base_image": "a", "dockerfile": "b"}, "one of --base-image and --dockerfile"),
        ("None", {"builder_arguments": ("other.py",)}, "one flow at a time, not other.py too"),
        ("Docker(files={'dask-flow': '/x'})", {}, "'dask-flow' is the name of a folder of the build's own"),
        ("Docker(env_vars={'A': 'b\\nc'})", {}, "line break"),
        ("Docker(python_dependencies=['a\\nUSER 0'])", {}, "line break"),
    ],
)
def test_what_cannot_be_in_an_image_is_refused(tmp_path, storage, options, said):
    write(tmp_path, "", "a/x")
    write(tmp_path, "", "b/x")
    (tmp_path / "dask-flow").mkdir()

    with pytest.raises(InputError, match=said):
        render(plan(tmp_path, storage, **options))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"base_image": "a", "dockerfile": "b"}, "one of base_image and dockerfile"),
        ({"python_dependencies": "pandas"}, r"must be a list: \['pandas'\]"),
        ({"stored_as_script": True}, "needs path="),
        ({"path": "/opt/flow.prefect"}, r"ends in .py"),
        ({"secrets": ["KEY"]}, "flow.envFrom"),
        ({"result": "s3"}, "write to storage in a task"),
    ],
)
def test_storage_that_has_no_meaning_is_refused(arguments, said):
    with pytest.raises(InputError, match=said):
        Docker(**arguments)


@pytest.mark.parametrize("arguments", [{"prefect_version": "1.4.1"}, {"tls_config": True}, {"labels": ["a"]}])
def test_storage_that_has_no_effect_says_so(arguments, caplog):
    Docker(**arguments)

    assert f"Docker({next(iter(arguments))}=" in caplog.text
    assert "has no effect here: " in caplog.text


def test_every_argument_of_the_storage_is_in_the_docs(request):
    text = (request.config.rootpath / "docs/images.md").read_text()

    assert [field.name for field in dataclasses.fields(Docker) if f"`{field.name}`" not in text] == []


def test_print_shows_the_dockerfile_and_calls_no_builder(tmp_path):
    builder(tmp_path, "docker")

    done, asked = build(tmp_path, write(tmp_path, f"{flow()}print('loaded')\n"), "--print")

    assert done.stdout.startswith("FROM ghcr.io/")
    assert done.stdout.endswith(CHECK.format("/opt/flow/nightly.py") + "\n")
    assert "loaded" in done.stderr
    assert asked == []


@pytest.mark.parametrize("name", ["docker", "podman", "buildah"])
def test_image_is_pushed_and_named_by_its_digest(tmp_path, name):
    builder(tmp_path, name)

    done, asked = build(tmp_path, write(tmp_path, flow()), "--", "--isolation", "chroot")

    assert done.stdout == f"gcr.io/dev/etl@{DIGEST}\n"
    values = f"image.repository=gcr.io/dev/etl,image.digest={DIGEST},flow.target=/opt/flow/nightly.py"
    assert f"in the chart: --set-string {values}\n" in done.stderr
    assert [each[0] for each in asked] == [name] * 3
    info, built, pushed = (each[1] for each in asked)
    assert info == ["info"]
    assert built[:6] == ["build", "--isolation", "chroot", "-t", "gcr.io/dev/etl:0.1.0", "-f"]
    assert pushed[0] == "push"
    assert pushed[-1] == "gcr.io/dev/etl:0.1.0"
    assert "--tls-verify=false" not in pushed


def test_image_without_a_registry_is_not_pushed(tmp_path):
    builder(tmp_path, "docker")
    path = write(tmp_path, flow("Docker(image_name='etl')"))

    done, asked = build(tmp_path, path)

    assert done.stdout == "etl:latest\n"
    assert "image.repository=etl,image.tag=latest," in done.stderr
    assert [each[1][0] for each in asked] == ["info", "build"]
    assert build(tmp_path, path, "--push")[1][-1][1] == ["push", "etl:latest"]
    assert build(tmp_path, write(tmp_path, flow()), "--no-push")[0].stdout == "gcr.io/dev/etl:0.1.0\n"


def test_registry_of_this_machine_may_speak_http(tmp_path):
    builder(tmp_path, "buildah")

    done, asked = build(tmp_path, write(tmp_path, flow()), "--image", "127.0.0.1:5000/etl")

    assert "--tls-verify=false" in asked[-1][1]
    assert done.stdout == f"127.0.0.1:5000/etl@{DIGEST}\n"


def test_own_dockerfile_is_built_first_in_the_working_directory(tmp_path):
    write(tmp_path, "FROM scratch\n", "docker/Dockerfile")
    builder(tmp_path, "buildah")
    storage = (
        "Docker(image_name='etl', dockerfile='docker/Dockerfile', local_image=True,"
        "build_kwargs={'target': 'last', 'nocache': True, 'buildargs': {'A': 1}})"
    )

    done, asked = build(tmp_path, write(tmp_path, flow(storage)), "--", "--network", "host")

    first, second = asked[1][1], asked[2][1]
    common = ["--no-cache=true", "--build-arg=A=1", "--network", "host", "-t", "etl:latest", "-f"]
    assert first == ["build", "--pull-never", "--target=last", *common, str(tmp_path / "docker/Dockerfile"), "."]
    assert second[:-2] == ["build", *common]
    assert asked[2][2]["dockerfile"].startswith(
        f"# FROM is what {tmp_path}/docker/Dockerfile makes.\nFROM etl:latest\n"
    )
    assert done.stdout == "etl:latest\n"


def test_files_are_readable_for_all_and_a_dockerignore_does_not_reach_the_flows(tmp_path):
    secret = write(tmp_path, "x", "config.toml")
    secret.chmod(0o600)
    write(tmp_path, "*.pyc\n*", "ignored")
    shown = "oct(os.stat(words[-1] + '/config.toml').st_mode), repr(open(words[-1] + '/.dockerignore').read())"
    builder(tmp_path, "docker", f"if 'build' in words: print({shown})")

    done, _ = build(tmp_path, write(tmp_path, flow("Docker(files={'config.toml': '/etc/c'}, dockerignore='ignored')")))

    assert "0o100644 '*.pyc\\n*\\n!dask-flow\\n!dask-flow/**\\n'" in done.stderr


def test_docker_is_asked_at_the_url_that_the_storage_names(tmp_path):
    for name in ("docker", "podman"):
        builder(tmp_path, name)
    path = write(tmp_path, flow("Docker(image_name='etl', base_url='tcp://build:2375', local_image=True)"))

    _, asked = build(tmp_path, path)

    assert [each[1][:3] for each in asked] == [
        ["--host", "tcp://build:2375", "info"],
        ["--host", "tcp://build:2375", "build"],
    ]
    assert "--pull=false" in asked[1][1]
    done, _ = build(tmp_path, path, "--builder", "podman", code=2)
    assert "base_url='tcp://build:2375'" in done.stderr


def test_unknown_build_kwargs_are_refused(tmp_path):
    builder(tmp_path, "docker")

    done, _ = build(tmp_path, write(tmp_path, flow("Docker(build_kwargs={'gzip': True})")), code=2)

    assert "'gzip'" in done.stderr
    assert "behind --" in done.stderr


def test_first_builder_that_works_is_taken(tmp_path):
    builder(tmp_path, "docker", "sys.exit('Cannot connect to the Docker daemon')")
    builder(tmp_path, "buildah")

    done, asked = build(tmp_path, write(tmp_path, flow()))

    assert [each[0] for each in asked] == ["docker", "buildah", "buildah", "buildah"]
    assert done.stdout
    done, _ = build(tmp_path, write(tmp_path, flow()), "--builder", "docker", code=2)
    assert "docker does not work: Cannot connect to the Docker daemon" in done.stderr


def test_missing_builder_is_named(tmp_path):
    (tmp_path / "bin").mkdir()

    done, _ = build(tmp_path, write(tmp_path, flow()), code=2)

    assert "docker is not installed; podman is not installed; buildah is not installed" in done.stderr
    assert done.stdout == ""


def test_module_that_is_missing_here_is_needed_here_too(tmp_path):
    builder(tmp_path, "docker")

    done, asked = build(tmp_path, write(tmp_path, f"import not_there_at_all\n{flow()}"), code=2)

    assert "no module named 'not_there_at_all' here, where the flow is loaded first" in done.stderr
    assert asked == []


def test_target_that_is_no_module_is_not_taken_for_a_missing_package():
    with pytest.raises(InputError, match=r"give its path with \.py"):
        planned("not_there_at_all", BuildOptions())


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (
            "#9 0.4 {mark}/opt/flow/nightly.py:3: no module named 'pandas.core' here; derive an image",
            r"py:3: no module named 'pandas.core'; .*--python-dependency pandas, .*python_dependencies=\['pandas'\]",
        ),
        ("{mark}/opt/flow/nightly.py:3: KeyError: 'HOME'", "in the image: /opt/flow/nightly.py:3: KeyError: 'HOME'$"),
        (
            'error: exec: "dask-flow-entrypoint": executable file not found in $PATH',
            "python:3.12 has no dask-flow: start from ghcr.io/dask-flow/dask-flow:",
        ),
        (
            "ERROR: No matching distribution found for nope",
            "exit code 7.*lines:\n  ERROR: No matching distribution found",
        ),
    ],
)
def test_failed_build_says_why(tmp_path, output, said):
    builder(tmp_path, "docker", f"if 'build' in words: print({output.format(mark=check.MARK)!r}); sys.exit(7)")

    done, _ = build(tmp_path, write(tmp_path, flow()), "--base-image", "python:3.12", code=2)

    assert re.search(said, done.stderr, re.MULTILINE)
    assert done.stdout == ""


@pytest.mark.parametrize("output", ["denied: requested access", "127.0.0.1:5401/etl: denied: requested access"])
def test_refused_push_names_the_registry_and_how_to_log_in(tmp_path, output):
    builder(tmp_path, "docker", f"if 'push' in words: print({output!r}); sys.exit(1)")

    done, _ = build(tmp_path, write(tmp_path, flow()), code=2)

    assert "the registry gcr.io refuses gcr.io/dev/etl:0.1.0: denied: requested access" in done.stderr
    assert "docker login gcr.io" in done.stderr
    assert done.stdout == ""


def test_push_that_fails_for_another_reason_has_the_builders_last_lines(tmp_path):
    builder(tmp_path, "docker", "if 'push' in words: print('no such host'); sys.exit(1)")

    done, _ = build(tmp_path, write(tmp_path, flow()), code=2)

    assert "docker could not push gcr.io/dev/etl:0.1.0 (exit code 1); its last lines:\n  no such host" in done.stderr


def test_check_tells_what_cannot_be_loaded(tmp_path, capsys):
    good = write(tmp_path, flow(), "good_flow.py")
    bad = write(tmp_path, "import not_there_at_all\n", "bad_flow.py")

    assert check.main(str(good)) == 0
    assert check.main(str(bad)) == 2
    assert capsys.readouterr().err.startswith(f"{check.MARK}{bad}:1: no module named 'not_there_at_all'")


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("gcr.io/dev/etl:1", "gcr.io"),
        ("127.0.0.1:5000/etl", "127.0.0.1:5000"),
        ("localhost:5000/etl:1", "localhost:5000"),
        ("[::1]:5000/etl:1", "[::1]:5000"),
        ("localhost/etl:1", "localhost"),
        ("me/etl:1", None),
        ("etl:1.0", None),
    ],
)
def test_registry_is_found_in_an_images_name(image, registry):
    assert image_names.registry(image) == registry
    assert image_names.is_local(registry) is (registry is not None and "gcr.io" not in registry)
    image_names.check(image_names.tagged(image))


def test_image_that_podman_names_as_of_this_machine_is_not_pushed(tmp_path):
    assert not plan(tmp_path, image="localhost/etl:1").push
    assert plan(tmp_path, image="localhost:5000/etl:1").push


def test_reference_is_by_tag_or_digest():
    assert Built("localhost:5000/etl:1", "flow.py").reference == "localhost:5000/etl:1"
    assert Built("localhost:5000/etl:1", "flow.py", DIGEST).reference == f"localhost:5000/etl@{DIGEST}"


def test_every_option_is_in_the_docs(request):
    text = (request.config.rootpath / "docs/images.md").read_text()
    table = text[text.index("| option |") : text.index("## A private registry")]
    options = {name for option in cli_build.build.params for name in option.opts if name.startswith("-")}

    assert len(options) >= 10
    assert [name for name in options if f"`{name}" not in table] == []
    assert set(re.findall(r"^\| `(?:-\w`, `)?(--[a-z-]+)", table, re.MULTILINE)) <= options
