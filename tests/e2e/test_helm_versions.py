"""A release on the cluster with Helm 3, and with Helm 4 after it."""

import json

from namespaces import CHART, HELLO, IMAGE, ROOT, flow, run


def helm(command, verb, namespace, *args, **values):
    repository, _, tag = IMAGE.rpartition(":")
    values["image"] = {"repository": repository, "tag": tag}
    chart = (CHART, "-f", ROOT / "values/dev.yaml", "-f", "-") if verb in ("install", "upgrade") else ()
    return run(command, verb, "r", *chart, "-n", namespace.name, *args, stdin=json.dumps(values)).stdout


def test_helm_3s_release_is_tested_upgraded_by_helm_4_and_leaves_nothing(namespace):
    before = namespace.objects()

    helm("helm3", "install", namespace, flow=flow(HELLO))
    said = helm("helm3", "test", namespace, "--timeout=120s")
    helm("helm", "upgrade", namespace, flow=flow("def main(client): return client.submit(abs, -7).result()\n"))
    end = namespace.finish(namespace.start())
    helm("helm3", "uninstall", namespace, "--wait")

    assert "Phase:          Succeeded" in said
    assert "result of main: 7" in end.log
    namespace.wait_for(lambda: namespace.objects() == before, "the end of what the release and its run made")
