"""`dask-flow setup`: the Secret to pull images by, from what docker, podman or the environment know."""

import base64
import json
import logging
import stat

import pytest
from api_server import forbidden
from dask_flow.declarations import DaskKubernetesEnvironment
from dask_flow.errors import InputError
from dask_flow.remote.logins import Login, find_login, registry_of

WORD = "word-that-nobody-may-see"


def auth(word=WORD, user="me"):
    return base64.b64encode(f"{user}:{word}".encode()).decode()


@pytest.fixture
def home(tmp_path):
    (tmp_path / ".docker").mkdir()
    return tmp_path


def docker(home, config, name=".docker/config.json"):
    (home / name).parent.mkdir(parents=True, exist_ok=True)
    (home / name).write_text(json.dumps(config))


def helper(home, name, body):
    """Make a credential helper; it gets the registry's name on its standard input."""
    path = home / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\nread server\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def found(home, image="registry.example/team/flow:1", secret="regcred", **env):  # noqa: S107 # a name
    return find_login(secret, image, {"HOME": str(home), "PATH": f"{home}:/usr/bin:/bin", **env})


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("python:3.13", "https://index.docker.io/v1/"),
        ("team/flow", "https://index.docker.io/v1/"),
        ("gcr.io/dev/flow:1", "gcr.io"),
        ("localhost/flow", "localhost"),
        ("host:5000/flow@sha256:0", "host:5000"),
        ("", "https://index.docker.io/v1/"),
    ],
)
def test_registry_of_an_image_is_as_docker_reads_it(image, registry):
    assert registry_of(image) == registry


def test_environment_wins_over_files(home):
    docker(home, {"auths": {"registry.example": {"auth": auth()}}})

    login = found(home, DOCKER_USERNAME="you", DOCKER_PASSWORD="x", DOCKER_EMAIL="y@z")  # noqa: S106

    assert (login.server, login.username, login.email) == ("registry.example", "you", "y@z")
    assert found(home, DOCKER_USERNAME="u", DOCKER_PASSWORD="x", DOCKER_SERVER="docker.io").server == (  # noqa: S106
        "https://index.docker.io/v1/"
    )


def test_prefect_s_secret_in_the_environment_is_read(home):
    secret = {"docker-server": "gcr.io", "docker-username": "u", "docker-password": WORD, "docker-email": "a@b"}

    login = found(home, secret="my-login", PREFECT__CONTEXT__SECRETS__MY_LOGIN=json.dumps(secret))  # noqa: S106

    assert login == Login("gcr.io", "u", WORD, "", "a@b")


@pytest.mark.parametrize(
    ("key", "image"),
    [
        ("registry.example", "registry.example/team/flow:1"),
        ("https://registry.example/v2/", "registry.example/flow"),
        ("registry.example:5000", "registry.example:5000/flow:1"),
        ("https://index.docker.io/v1/", "team/flow"),
        ("docker.io", "python"),
    ],
)
def test_docker_s_file_has_it_under_any_of_its_names(home, key, image):
    docker(home, {"auths": {"other.example": {"auth": auth("no")}, key: {"auth": auth()}}})

    login = found(home, image)

    assert (login.server, login.username, login.password) == (key, "me", WORD)


def test_podman_s_file_may_have_a_login_for_a_part_of_a_registry(home):
    auths = {"r.example": {"auth": auth("all")}, "r.example/team": {"auth": auth()}}
    docker(home, {"auths": auths}, "run/containers/auth.json")

    assert found(home, "r.example/team/flow:1", XDG_RUNTIME_DIR=str(home / "run")).password == WORD
    assert found(home, "r.example/others/flow", XDG_RUNTIME_DIR=str(home / "run")).password == "all"  # noqa: S105


def test_docker_config_names_another_folder(home):
    docker(home, {"auths": {"r.example": {"auth": auth()}}}, "elsewhere/config.json")

    assert found(home, "r.example/x") is None
    assert found(home, "r.example/x", DOCKER_CONFIG=str(home / "elsewhere")).password == WORD


def test_credential_helper_is_asked_for_the_registry(home):
    helper(home, "one", f'echo "{{\\"Username\\": \\"me@$server\\", \\"Secret\\": \\"{WORD}\\"}}"')
    docker(home, {"credHelpers": {"r.example": "one"}})

    assert found(home, "r.example/x") == Login("r.example", "me@r.example", WORD, "")


def test_credentials_store_is_asked_where_the_file_has_an_empty_entry(home):
    helper(home, "store", f'echo "{{\\"Username\\": \\"me\\", \\"Secret\\": \\"{WORD}\\"}}"')
    docker(home, {"auths": {"https://index.docker.io/v1/": {}}, "credsStore": "store"})

    assert found(home, "python").password == WORD
    assert found(home, "r.example/x") is None


@pytest.mark.parametrize("config", [{"credHelpers": None, "auths": None}, {"auths": {"r.example": None}}])
def test_empty_parts_of_docker_s_file_have_no_login(home, config):
    docker(home, config)

    assert found(home, "r.example/x") is None


def test_helper_that_has_no_login_is_no_error(home):
    helper(home, "none", "echo credentials not found; exit 1")
    docker(home, {"credHelpers": {"r.example": "none"}})

    assert found(home, "r.example/x") is None


@pytest.mark.parametrize(
    ("config", "env", "message"),
    [
        (
            {"credHelpers": {"r.example": "not-there"}},
            {},
            "docker-credential-not-there, which your docker configuration",
        ),
        ({"credHelpers": {"r.example": "token"}}, {}, "docker-credential-token has an identity token for r.example"),
        ({"credHelpers": {"r.example": "talk"}}, {}, "docker-credential-talk is not a JSON object"),
        ({"auths": {"r.example": {"identitytoken": WORD, "auth": auth()}}}, {}, "has an identity token for r.example"),
        ({"auths": {"r.example": {"auth": "%%%"}}}, {}, "the login for r.example is not base64"),
        ([], {}, "config.json is not a JSON object"),
        (b"\xff", {}, "config.json cannot be read: it is not text"),
        ({}, {"DOCKER_USERNAME": "u"}, "DOCKER_PASSWORD is not set"),
        ({}, {"PREFECT__CONTEXT__SECRETS__REGCRED": WORD}, "PREFECT__CONTEXT__SECRETS__REGCRED is not a JSON object"),
    ],
)
def test_login_that_cannot_be_used_is_said_without_it(home, config, env, message):
    helper(home, "token", f'echo "{{\\"Username\\": \\"<token>\\", \\"Secret\\": \\"{WORD}\\"}}"')
    helper(home, "talk", f"echo {WORD}")
    if isinstance(config, bytes):
        (home / ".docker/config.json").write_bytes(config)
    else:
        docker(home, config)

    with pytest.raises(InputError) as raised:
        found(home, "r.example/x", **env)

    assert message in str(raised.value)
    assert WORD not in str(raised.value)


def test_login_does_not_show_its_password():
    assert WORD not in repr(Login("s", "u", WORD, "here"))


@pytest.fixture
def logged_in(home, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "dask_flow")
    monkeypatch.setenv("HOME", str(home))
    for name in ("DOCKER_CONFIG", "DOCKER_USERNAME", "DOCKER_PASSWORD", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    docker(home, {"auths": {"r.example": {"auth": auth()}}})
    return caplog


def test_secret_is_made_from_the_login_and_never_shown(dask_flow, cluster, logged_in):
    done = dask_flow("setup", "--image-pull-secret", "regcred", "--image", "r.example/flow:1")

    assert done.exit_code == 0, done.output
    secret = cluster.get("secrets", "regcred")
    assert secret["type"] == "kubernetes.io/dockerconfigjson"
    content = json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))
    assert content == {"auths": {"r.example": {"username": "me", "password": WORD, "auth": auth()}}}
    assert "pull secret regcred made for r.example, from " in logged_in.text
    assert WORD not in done.output + logged_in.text
    assert auth() not in done.output + logged_in.text


def test_secret_that_is_there_stays_unless_forced(dask_flow, cluster, logged_in):
    data = {".dockerconfigjson": base64.b64encode(b'{"auths": {"s.example": {}}}').decode()}
    kind = "kubernetes.io/dockerconfigjson"
    cluster.add("secrets", {"metadata": {"name": "regcred"}, "type": kind, "data": data})

    assert dask_flow("setup", "--image-pull-secret", "regcred", "--image", "r.example/flow").exit_code == 0
    assert cluster.get("secrets", "regcred")["data"] == data
    assert "it stays as it is" in logged_in.text
    assert "pull secret regcred is for s.example, and the image r.example/flow is not there" in logged_in.text

    dask_flow("setup", "--image-pull-secret", "regcred", "--image", "r.example/flow", "--force")
    assert cluster.get("secrets", "regcred")["data"] != data


def test_secret_of_another_kind_is_refused(dask_flow, cluster, logged_in):
    cluster.add("secrets", {"metadata": {"name": "regcred"}, "type": "Opaque", "data": {}})

    done = dask_flow("setup", "--image-pull-secret", "regcred")

    assert (done.exit_code, "Secret regcred is no pull secret: its type is Opaque" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--image-pull-secret", "x", "--image", "q.example/f"],
            "there is no login for q.example here to make it from",
        ),
        ([], "no Secret is named: give --image-pull-secret"),
        (["--image-pull-secret", "x", "-n", "none"], "there is no namespace none"),
    ],
)
def test_what_is_missing_is_exit_code_2(dask_flow, cluster, logged_in, options, message):
    done = dask_flow("setup", *options)

    assert (done.exit_code, message in done.stderr) == (2, True), done.output


def test_lack_of_rights_is_exit_code_3(dask_flow, cluster, logged_in):
    cluster.refusals["GET", "secrets"] = forbidden("get", "secrets")

    done = dask_flow("setup", "--image-pull-secret", "x")

    assert (done.exit_code, "eve may not get secrets in namespace jobs" in done.stderr) == (3, True)


def test_flow_s_deprecated_arguments_still_name_the_secret_and_say_what_replaces_them(
    dask_flow, cluster, logged_in, tmp_path
):
    (tmp_path / "old.py").write_text(
        "from dask_flow import Flow, task\nfrom dask_flow.environments import DaskKubernetesEnvironment\n"
        "from dask_flow.storage import Docker\n@task\ndef one(): return 1\n"
        "flow = Flow('f', tasks=[one], storage=Docker(registry_url='r.example', image_name='f'), environment="
        "DaskKubernetesEnvironment(private_registry=True, docker_secret='MY_LOGIN'))\n"
    )

    done = dask_flow("setup", tmp_path / "old.py")

    assert done.exit_code == 0, done.output
    assert cluster.get("secrets", "my-login")
    assert "deprecated since Prefect 0.11.3; write image_pull_secret='my-login' instead" in logged_in.text


def test_docker_secret_alone_has_no_effect_and_says_so(caplog):
    environment = DaskKubernetesEnvironment(docker_secret="X")  # noqa: S106

    assert environment.settings()["image_pull_secrets"] is None
    assert "has no effect without private_registry=True" in caplog.text


def test_private_registry_alone_means_prefect_s_default_secret():
    assert DaskKubernetesEnvironment(private_registry=True).settings()["image_pull_secrets"] == (
        "docker-registry-credentials",
    )
