import copy
import json
import random
import re
import textwrap
from pathlib import Path

import pytest
import yaml
from dask_flow import pod_check
from dask_flow.errors import InputError

SEED = Path(__file__).parent / "worker_spec.yaml"
BIG = """\
apiVersion: v1
kind: Pod
metadata:
  name: worker.big
  creationTimestamp: null
  labels: {app.kubernetes.io/name: dask, empty: "", Team: a_b.c}
  annotations:
    Example.org/Note: |
      any text
    sidecar.istio.io/inject: "false"
spec:
  replicas: 2
  priorityClassName: batch
  terminationGracePeriodSeconds: 30
  nodeSelector: {kubernetes.io/arch: amd64}
  serviceAccountName: dask.worker
  hostname: worker
  securityContext:
    runAsUser: 1000
    fsGroup: 1000
    supplementalGroups: [1, 2]
    seccompProfile: {type: RuntimeDefault}
    sysctls: [{name: net.ipv4.tcp_syncookies, value: "1"}]
  affinity:
    nodeAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
        nodeSelectorTerms:
          - matchExpressions: [{key: disk, operator: In, values: [ssd]}]
    podAntiAffinity:
      preferredDuringSchedulingIgnoredDuringExecution:
        - weight: 100
          podAffinityTerm:
            topologyKey: kubernetes.io/hostname
            labelSelector: {matchLabels: {app: dask}}
  tolerations:
    - {key: spot, operator: Equal, value: "true", effect: NoSchedule}
    - {operator: Exists, effect: ""}
    - {key: gone, operator: Exists, effect: NoExecute, tolerationSeconds: 5}
  topologySpreadConstraints:
    - {maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: dask}}}
  imagePullSecrets: [{name: a}]
  initContainers:
    - name: unpack
      image: busybox:1
      command: ["sh", "-c", "echo a=b"]
      volumeMounts: [{name: data, mountPath: /data}]
    - name: proxy
      image: proxy:1
      restartPolicy: Always
      startupProbe: {httpGet: {path: /, port: http}, failureThreshold: 30}
      ports: [{name: http, containerPort: 80}, {name: http-2, containerPort: 8080, protocol: TCP, hostPort: 0}]
  containers:
    - image: example.org/dask:1
      imagePullPolicy: IfNotPresent
      args:
      - dask
      - worker
      env:
        - {name: A, value: "1"}
        - {name: A, value: "2"}
        - {name: a.b-C, value: }
        - {name: KEY, valueFrom: {secretKeyRef: {name: keys, key: key, optional: true}}}
        - {name: EMPTY, value: "", valueFrom: {fieldRef: {fieldPath: status.podIP}}}
        - {name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1m}}}
      envFrom: [{configMapRef: {name: c}}, {prefix: X_, secretRef: {name: s}}]
      resources:
        limits: {cpu: 1.5, memory: 4Gi, nvidia.com/gpu: 1, hugepages-2Mi: 2Mi, ephemeral-storage: 1e9}
        requests: {cpu: 1500m, memory: 4G, nvidia.com/gpu: 1, hugepages-2Mi: 2Mi, ephemeral-storage: .5G}
      livenessProbe: {tcpSocket: {port: 8786}, periodSeconds: 10}
      readinessProbe: {exec: {command: [cat, /ready]}}
      lifecycle: {preStop: {sleep: {seconds: 5}}}
      securityContext: {capabilities: {drop: [ALL]}, allowPrivilegeEscalation: false}
      volumeMounts:
        - {name: data, mountPath: /data}
        - {name: data, mountPath: /sub, subPath: ..a/..b/c..}
        - {name: data, mountPath: /more, subPath: more, readOnly: true}
        - {name: shm, mountPath: /dev/shm}
    - {name: log, image: log:1, stdin: true, workingDir: /tmp, resources: {}}
  volumes:
    - name: data
      ephemeral:
        volumeClaimTemplate:
          metadata: {labels: {a: b}}
          spec: {accessModes: [ReadWriteOnce], storageClassName: fast, resources: {requests: {storage: 100Gi}}}
    - {name: shm, emptyDir: {medium: Memory, sizeLimit: 2Gi}}
    - name: all
      projected:
        sources: [{configMap: {name: c, items: [{key: k, path: p, mode: 0400}]}}, {secret: {name: s}}]
    - {name: nothing}
status: {}
"""
TEMPLATE = "metadata: {labels: {a: b}}\nspec:\n  containers: [{image: x, args: [dask, worker]}]\n"
JOB = """\
apiVersion: batch/v1
kind: Job
metadata: {name: flow}
spec:
  backoffLimit: 0
  ttlSecondsAfterFinished: 100
  podFailurePolicy:
    rules: [{action: FailJob, onExitCodes: {operator: In, values: [1]}}]
  template:
    metadata: {labels: {a: b}}
    spec:
      restartPolicy: Never
      containers: [{name: flow, image: x}]
"""
NULLS = "metadata:\nspec: {nodeSelector: , containers: [{name: w, args: , env: ~, resources: {limits: null}}]}"


def pod(text):
    """The text of a pod with one container, which begins in line 5."""
    return "kind: Pod\nspec:\n  volumes: [{name: tmp, emptyDir: {}}]\n  containers:\n" + textwrap.indent(
        "- name: w\n" + textwrap.indent(textwrap.dedent(text).strip("\n"), "  "), "    "
    )


def spec(text):
    """The text of a pod whose spec begins in line 3."""
    return "kind: Pod\nspec:\n" + textwrap.indent(textwrap.dedent(text).strip("\n"), "  ")


def check(text, kind="Pod"):
    return pod_check.problems(pod_check.load(text, "worker_spec.yaml"), "worker_spec.yaml", kind)


C = "spec.containers[0]"
TERMS = "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms:"
NODE_RULE = (
    "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0]"
)
PREFERRED = "affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution:"
PREFERENCE = "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0]"
BROKEN = [
    # unknown keys
    (pod("resource: {}"), 6, f"{C}.resource", "is not a field of a Container; did you mean 'resources'?"),
    (pod("Image: x"), 6, f"{C}.Image", "did you mean 'image'?"),
    (pod("image_pull_policy: Always"), 6, f"{C}.image_pull_policy", "did you mean 'imagePullPolicy'?"),
    (pod("env: [{name: A, vlaue: b}]"), 6, f"{C}.env[0].vlaue", "not a field of an EnvVar; did you mean 'value'?"),
    (pod("nodeSelector: {}"), 6, f"{C}.nodeSelector", "of a Container; it is one of the PodSpec (spec.nodeSelector)"),
    (pod("volumes: []"), 6, f"{C}.volumes", "it is one of the PodSpec (spec.volumes)"),
    (pod("labels: {}"), 6, f"{C}.labels", "it is one of the ObjectMeta (metadata.labels)"),
    (pod("runAsUser: 5"), 6, f"{C}.runAsUser", f"one of the SecurityContext ({C}.securityContext.runAsUser)"),
    (pod("limits: {}"), 6, f"{C}.limits", f"one of the ResourceRequirements ({C}.resources.limits)"),
    (pod("gizmo: 1"), 6, f"{C}.gizmo", "is not a field of a Container; leave it out"),
    (pod("env: [{name: A, x: b}]"), 6, f"{C}.env[0].x", "its fields are name, value and valueFrom"),
    (spec("fsGroup: 1"), 3, "spec.fsGroup", "it is one of the PodSecurityContext (spec.securityContext.fsGroup)"),
    (spec("image: x"), 3, "spec.image", f"it is one of the Container ({C}.image)"),
    (spec("securityContext: {privileged: true}"), 3, "spec.securityContext.privileged", "one of the SecurityContext"),
    (spec("backoffLimit: 1"), 3, "spec.backoffLimit", "is not a field of a PodSpec"),
    ("containers: []", 1, "containers", "it is one of the PodSpec (spec.containers)"),
    ("labels: {}", 1, "labels", "it is one of the ObjectMeta (metadata.labels)"),
    ("on: 1", 1, "on", "is not a field of a Pod"),
    ('"a\\nb": 1', 1, r"[a\nb]", "is not a field of a Pod"),
    # wrong types
    (pod("env:\n- name: A\n  value: 1"), 8, f"{C}.env[0].value", 'must be a text, not the number 1; quote it: "1"'),
    (pod("env: [{name: A, value: 1.10}]"), 6, f"{C}.env[0].value", 'not the number 1.10; quote it: "1.10"'),
    (pod("env: [{name: A, value: yes}]"), 6, f"{C}.env[0].value", 'not the boolean yes; quote it: "yes"'),
    (pod("env: [{name: A, value: 2026-01-02}]"), 6, f"{C}.env[0].value", 'the date 2026-01-02; quote it: "2026-01-02"'),
    (
        pod("env: [{name: A, value: 2026-01-02 03:04:05}]"),
        6,
        f"{C}.env[0].value",
        "the date 2026-01-02 03:04:05; quote",
    ),
    (pod("env: {A: b}"), 6, f"{C}.env", "must be a list, not a mapping; write '- name: A' and under it 'value: …'"),
    (pod("env: [A=1]"), 6, f"{C}.env[0]", """must be a mapping, not the text 'A=1'; write {name: A, value: "1"}"""),
    (pod("env: [name:A]"), 6, f"{C}.env[0]", "put a space after 'name:'"),
    (pod("args: dask worker"), 6, f"{C}.args", """a list, not the text 'dask worker'; write ["dask", "worker"]"""),
    (pod("command: 5"), 6, f"{C}.command", """must be a list, not the number 5; write ["5"]"""),
    (pod("args:\n- --nthreads\n- 2"), 8, f"{C}.args[1]", 'must be a text, not the number 2; quote it: "2"'),
    (pod("args: [a: b]"), 6, f"{C}.args[0]", "not a mapping; if its ': ' is part of a text, quote it"),
    (pod("args: [a, ~]"), 6, f"{C}.args[1]", "must be a text, not null"),
    (pod("image: [x]"), 6, f"{C}.image", "must be a text, not a list"),
    (pod("resources: [{limits: {}}]"), 6, f"{C}.resources", "must be a mapping, not a list; leave out its '- '"),
    (pod("resources: 4"), 6, f"{C}.resources", "must be a mapping, not the number 4"),
    (pod("tty: 'true'"), 6, f"{C}.tty", "must be true or false, not the text 'true'; write true without quotes"),
    (pod("tty: 0"), 6, f"{C}.tty", "must be true or false, not the number 0; write false"),
    (pod("tty: maybe"), 6, f"{C}.tty", "must be true or false, not the text 'maybe'"),
    (pod("image: !!binary aGk="), 6, f"{C}.image", "must be a text, not the bytes aGk="),
    (spec("tolerations: {key: a}"), 3, "spec.tolerations", "a list, not a mapping; put '- ' before its first key"),
    (spec("tolerations: a"), 3, "spec.tolerations", "put '- ' before each item"),
    (spec("tolerations: [a]"), 3, "spec.tolerations[0]", "must be a mapping, not the text 'a'"),
    (spec("imagePullSecrets: mine"), 3, "spec.imagePullSecrets", "not the text 'mine'; write '- name: mine'"),
    (spec("imagePullSecrets: [mine]"), 3, "spec.imagePullSecrets[0]", "write {name: mine}"),
    (spec("priority: high"), 3, "spec.priority", "must be a whole number, not the text 'high'"),
    (spec("priority: '5'"), 3, "spec.priority", "must be a whole number, not the text '5'; leave out the quotes"),
    (spec("priority: 5.0"), 3, "spec.priority", "must be a whole number, not the number 5.0; write 5"),
    (spec("priority: true"), 3, "spec.priority", "must be a whole number, not the boolean true"),
    (spec("containers: w"), 3, "spec.containers", "must be a list, not the text 'w'"),
    ("spec: []", 1, "spec", "must be a mapping, not a list"),
    ("metadata: {labels: {n: 1}}", 1, "metadata.labels.n", 'must be a text, not the number 1; quote it: "1"'),
    # enums
    (
        spec("restartPolicy: never"),
        3,
        "spec.restartPolicy",
        "Always, Never or OnFailure, not 'never'; did you mean 'Never'",
    ),
    (spec("restartPolicy: 1"), 3, "spec.restartPolicy", "must be a text, not the number 1"),
    (
        pod("restartPolicy: always"),
        6,
        f"{C}.restartPolicy",
        "Always, Never or OnFailure, not 'always'; did you mean 'Always'",
    ),
    (pod("imagePullPolicy: IfNotPresnt"), 6, f"{C}.imagePullPolicy", "did you mean 'IfNotPresent'?"),
    ("kind: pod", 1, "kind", "must be Pod, not 'pod'; did you mean 'Pod'?"),
    ("apiVersion: v2", 1, "apiVersion", "must be v1, not 'v2'"),
    # what is missing
    (pod("env:\n- value: a"), 7, f"{C}.env[0].name", "is missing; an EnvVar must have it"),
    (pod("volumeMounts:\n- name: tmp"), 7, f"{C}.volumeMounts[0].mountPath", "is missing; a VolumeMount must have it"),
    (spec("containers:\n- name: a\n- image: b"), 5, "spec.containers[1].name", "is missing; a Container must have it"),
    (spec("initContainers:\n- image: b"), 4, "spec.initContainers[0].name", "is missing"),
    (spec("volumes:\n- name:\n  emptyDir: {}"), 4, "spec.volumes[0].name", "is missing; a Volume must have it"),
    # quantities
    (
        pod("resources:\n  limits:\n    memory: 4GBs"),
        8,
        f"{C}.resources.limits.memory",
        "such as 4Gi or 500M, not '4GBs'",
    ),
    (pod("resources: {limits: {memory: 4GB}}"), 6, f"{C}.resources.limits.memory", "did you mean '4G' or '4Gi'?"),
    (pod("resources: {limits: {memory: 4gib}}"), 6, f"{C}.resources.limits.memory", "'4gib'; did you mean '4Gi'?"),
    (pod("resources: {limits: {memory: 512KB}}"), 6, f"{C}.resources.limits.memory", "'512k' or '512Ki'?"),
    (pod("resources: {limits: {cpu: 2 cores}}"), 6, f"{C}.resources.limits.cpu", "such as 500m or 2, not '2 cores'"),
    (pod("resources: {limits: {cpu: -1}}"), 6, f"{C}.resources.limits.cpu", "not '-1'; a resource is not negative"),
    (pod("resources: {limits: {cpu: '-1'}}"), 6, f"{C}.resources.limits.cpu", "a resource is not negative"),
    (
        pod("resources: {limits: {cpu: .inf}}"),
        6,
        f"{C}.resources.limits.cpu",
        "must be a quantity, such as 4Gi or 500m",
    ),
    (pod("resources: {limits: {cpu: [1]}}"), 6, f"{C}.resources.limits.cpu", "not a list"),
    (pod("resources: {limits: {mem: 1Gi}}"), 6, f"{C}.resources.limits.mem", "not a valid key; .* mean 'memory'?"),
    (pod("resources: {limits: {gpu: 1}}"), 6, f"{C}.resources.limits.gpu", "did you mean 'nvidia.com/gpu'?"),
    # ranges
    (
        pod("ports: [{containerPort: 70000}]"),
        6,
        f"{C}.ports[0].containerPort",
        "must be from 1 to 65535, not the number 7",
    ),
    (pod("ports: [{containerPort: 0}]"), 6, f"{C}.ports[0].containerPort", "must be from 1 to 65535"),
    (pod("livenessProbe: {tcpSocket: {port: 0}}"), 6, f"{C}.livenessProbe.tcpSocket.port", "from 1 to 65535"),
    (
        pod("livenessProbe: {tcpSocket: {port: '80'}}"),
        6,
        f"{C}.livenessProbe.tcpSocket.port",
        "a port from 1 to 65535, or",
    ),
    (spec("priority: 3000000000"), 3, "spec.priority", "must be from -2147483648 to 2147483647"),
    # names
    (spec("containers: [{name: My_Worker}]"), 3, f"{C}.name", "not 'My_Worker'; did you mean 'my-worker'?"),
    (spec("containers: [{name: ''}]"), 3, f"{C}.name", "must be 1 to 63 of a-z, 0-9 and '-'"),
    (spec("containers: [{name: 'w\n\n  '}]"), 3, f"{C}.name", "must be 1 to 63 of a-z, 0-9 and '-'"),
    (spec("containers: [{name: %s}]" % ("a" * 64)), 3, f"{C}.name", "must be 1 to 63"),
    (spec("volumes: [{name: a.b}]"), 3, "spec.volumes[0].name", "did you mean 'a-b'?"),
    (pod("ports: [{containerPort: 80, name: a_b}]"), 6, f"{C}.ports[0].name", "did you mean 'a-b'?"),
    (
        pod("env: [{name: A=b, value: c}]"),
        6,
        f"{C}.env[0].name",
        "printable ASCII characters other than '=', not 'A=b'",
    ),
    ("metadata: {name: Worker}", 1, "metadata.name", "did you mean 'worker'?"),
    ("metadata:\n  labels:\n    a b: c", 3, "metadata.labels[a b]", "is not a valid key; .* did you mean 'a-b'?"),
    ("metadata:\n  labels:\n    a/b: c d", 3, "metadata.labels[a/b]", "not 'c d'; did you mean 'c-d'?"),
    ("metadata: {annotations: {a/b/c: d}}", 1, "metadata.annotations[a/b/c]", "is not a valid key"),
    (spec("nodeSelector: {a: -}"), 3, "spec.nodeSelector.a", "with a letter or digit at both ends, not '-'"),
    # what does not go together
    (
        spec("volumes:\n- name: a\n- name: b\n- name: a"),
        6,
        "spec.volumes[2].name",
        "is 'a', as in line 4; only one can have it",
    ),
    (spec("containers:\n- name: a\n- name: a"), 5, "spec.containers[1].name", "is 'a', as in line 4"),
    (
        spec("containers:\n- name: a\ninitContainers:\n- name: a"),
        4,
        "spec.containers[0].name",
        "is 'a', as in line 6; only one can have it",
    ),
    (
        pod("volumeMounts:\n- {name: tmp, mountPath: /a}\n- {name: tmp, mountPath: /a}"),
        8,
        f"{C}.volumeMounts[1].mountPath",
        "is '/a', as in line 7",
    ),
    (
        pod("volumeMounts: [{name: tpm, mountPath: /a}]"),
        6,
        f"{C}.volumeMounts[0].name",
        "spec.volumes; did you mean 'tmp'?",
    ),
    (pod("volumeMounts: [{name: data, mountPath: /a}]"), 6, f"{C}.volumeMounts[0].name", "add a volume of that name"),
    (
        pod("resources:\n  limits: {memory: 4G}\n  requests: {memory: 4Gi}"),
        8,
        f"{C}.resources.requests.memory",
        r"(4Gi) is more than limits.memory (4G); lower it",
    ),
    (pod("resources: {limits: {cpu: 1}, requests: {cpu: 1001m}}"), 6, f"{C}.resources.requests.cpu", "(1001m) is more"),
    (
        pod("env:\n- name: A\n  value: b\n  valueFrom: {secretKeyRef: {name: a, key: b}}"),
        7,
        f"{C}.env[0]",
        "has both value and valueFrom; keep one of them",
    ),
    (
        spec("volumes:\n- {name: a, emptyDir: {}, hostPath: {path: /}}"),
        4,
        "spec.volumes[0]",
        "has both emptyDir and hostPath",
    ),
    (
        spec("volumes:\n- {name: a, emptyDir: {}, nfs: {server: a, path: b}, hostPath: {path: /}}"),
        4,
        "spec.volumes[0]",
        "has emptyDir, nfs and hostPath; keep one of them",
    ),
    (
        pod("resources: {limits: {nvidia.com/gpu: 2}, requests: {nvidia.com/gpu: 1}}"),
        6,
        f"{C}.resources.requests[nvidia.com/gpu]",
        "(1) must be as much as limits[nvidia.com/gpu]",
    ),
    (
        pod("resources: {requests: {example.org/a: 1}}"),
        6,
        f"{C}.resources.requests[example.org/a]",
        "and set the limit",
    ),
    (pod("envFrom: [{prefix: A}]"), 6, f"{C}.envFrom[0]", "must have one of configMapRef or secretRef"),
    (pod("env: [{name: A, valueFrom: {}}]"), 6, f"{C}.env[0].valueFrom", "is not complete; it must have one of"),
    (pod("env: [{name: A, valueFrom: {secretkeyref: {}}}]"), 6, f"{C}.env[0].valueFrom.secretkeyref", "'secretKeyRef'"),
    (pod("livenessProbe: {periodSeconds: 1}"), 6, f"{C}.livenessProbe", "must have one of exec, grpc, httpGet or tcp"),
    (pod("envFrom: [{secretRef: {}}]"), 6, f"{C}.envFrom[0].secretRef.name", "is missing; a SecretEnvSource must have"),
    (pod("envFrom: [{secretRef: {name: A_b}}]"), 6, f"{C}.envFrom[0].secretRef.name", "did you mean 'a-b'?"),
    (spec("volumes: [{name: a, secret: {}}]"), 3, "spec.volumes[0].secret.secretName", "is missing"),
    (spec("volumes: [{name: a, configMap: {}}]"), 3, "spec.volumes[0].configMap.name", "is missing"),
    # what the API server refuses, and does not publish
    (spec("nodeName: X"), 3, "spec.nodeName", "did you mean 'x'?"),
    (spec("nodeName: ${NODE}"), 3, "spec.nodeName", "Kubernetes replaces no variables there; use {{ env.NODE }}"),
    (spec("securityContext: {runAsUser: -1}"), 3, "spec.securityContext.runAsUser", "must be from 0 to 2147483647"),
    (spec("securityContext: {supplementalGroups: [-1]}"), 3, "spec.securityContext.supplementalGroups[0]", "from 0"),
    (
        spec("securityContext: {seccompProfile: {type: Localhost}}"),
        3,
        "spec.securityContext.seccompProfile",
        "Localhost",
    ),
    (pod("securityContext: {runAsGroup: -1}"), 6, f"{C}.securityContext.runAsGroup", "must be from 0 to 2147483647"),
    (spec("activeDeadlineSeconds: 0"), 3, "spec.activeDeadlineSeconds", "must be from 1 to 2147483647"),
    (
        spec("tolerations: [{key: a, operator: Exists, value: b}]"),
        3,
        "spec.tolerations[0]",
        "both a value and the operator",
    ),
    (spec("tolerations: [{value: b}]"), 3, "spec.tolerations[0]", "has no key; then its operator must be Exists"),
    (spec("tolerations: [{key: a, tolerationSeconds: 5}]"), 3, "spec.tolerations[0]", "its effect must be NoExecute"),
    (spec("tolerations: [{key: a, value: b c}]"), 3, "spec.tolerations[0].value", "not 'b c'; did you mean 'b-c'?"),
    (
        spec(f"{TERMS} [{{matchExpressions: [{{key: a, operator: In}}]}}]}}}}}}"),
        3,
        NODE_RULE,
        "In and NotIn need values",
    ),
    (
        spec(f"{TERMS} [{{matchExpressions: [{{key: a, operator: Exists, values: [b]}}]}}]}}}}}}"),
        3,
        NODE_RULE,
        "leave out v",
    ),
    (
        spec(f"{TERMS} [{{matchExpressions: [{{key: a, operator: Gt, values: [b, c]}}]}}]}}}}}}"),
        3,
        NODE_RULE,
        "one number",
    ),
    (spec(f"{PREFERRED} [{{weight: 0, preference: {{}}}}]}}}}"), 3, f"{PREFERENCE}.weight", "must be from 1 to 100"),
    (
        spec("volumes: [{name: a, hostPath: {path: ''}}]"),
        3,
        "spec.volumes[0].hostPath.path",
        "a text that is not empty",
    ),
    (
        spec("volumes: [{name: a, secret: {secretName: a, defaultMode: 4000}}]"),
        3,
        "spec.volumes[0].secret.defaultMode",
        "must be from 0 to 511",
    ),
    (
        spec("volumes: [{name: a, configMap: {name: a, items: [{key: b, path: ../c}]}}]"),
        3,
        "spec.volumes[0].configMap.items[0].path",
        "a path that begins with no / and has no '..'",
    ),
    (
        pod("ports:\n- {containerPort: 1, name: a}\n- {containerPort: 2, name: a}"),
        8,
        f"{C}.ports[1].name",
        "as in line 7",
    ),
    (
        pod("livenessProbe: {tcpSocket: {port: 1}, periodSeconds: -1}"),
        6,
        f"{C}.livenessProbe.periodSeconds",
        "from 0 to",
    ),
    (pod("livenessProbe: {exec: {}}"), 6, f"{C}.livenessProbe.exec.command", "is missing; an ExecAction must have it"),
    (
        pod("volumeMounts: [{name: tmp, mountPath: /a, subPath: /b}]"),
        6,
        f"{C}.volumeMounts[0].subPath",
        "begins with no /",
    ),
    (
        pod("env: [{name: A, valueFrom: {fieldRef: {fieldPath: spec.x}}}]"),
        6,
        f"{C}.env[0].valueFrom.fieldRef.fieldPath",
        "a f",
    ),
    (
        pod("env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.gpu}}}]"),
        6,
        f"{C}.env[0].valueFrom.resourceFieldRef.resource",
        "limits. or requests. and cpu",
    ),
    (pod("image: me/dask:${TAG}"), 6, f"{C}.image", "must be an image name such as .* use {{ env.TAG }}"),
    (pod("image: Me/Dask:1"), 6, f"{C}.image", "did you mean 'me/dask:1'?"),
    (pod("image: https://example.org/dask"), 6, f"{C}.image", "must be an image name"),
    # the minimum of workers
    (spec("replicas: " + "9" * 20), 3, "spec.replicas", "must be a whole number from 1 to 150000"),
    (spec("replicas: 0"), 3, "spec.replicas", "must be a whole number from 1 to 150000, not the number 0"),
    (spec("replicas: two"), 3, "spec.replicas", "from 1 to 150000, not the text 'two'"),
]
BROKEN_JOBS = [
    ("kind: Job", 1, "spec", "is missing; a Job must have it"),
    ("spec: {backoffLimit: 1}", 1, "spec.template", "is missing; a JobSpec must have it"),
    ("apiVersion: v1\nspec: {template: {}}", 1, "apiVersion", "must be batch/v1, not 'v1'"),
    ("spec: {template: {}, backofLimit: 1}", 1, "spec.backofLimit", "did you mean 'backoffLimit'?"),
    ("spec: {template: {}, replicas: 1}", 1, "spec.replicas", "is not a field of a JobSpec"),
    (
        "spec: {template: {}, restartPolicy: Never}",
        1,
        "spec.restartPolicy",
        "it is one of the PodSpec (spec.template.spec.restartPolicy)",
    ),
    (
        "spec:\n  template:\n    spec:\n      backoffLimit: 1",
        4,
        "spec.template.spec.backoffLimit",
        "it is one of the JobSpec (spec.backoffLimit)",
    ),
    (
        "spec:\n template: {spec: {containers: [{volumeMounts: [{name: a, mountPath: /a}]}]}}",
        2,
        "spec.template.spec.containers[0].volumeMounts[0].name",
        "is 'a', which is not in spec.template.spec.volumes",
    ),
]


@pytest.mark.parametrize(
    ("text", "line", "key", "part", "kind"),
    [(*each, "Pod") for each in BROKEN] + [(*each, "Job") for each in BROKEN_JOBS],
)
def test_problem_is_said_once_with_line_key_and_advice(text, line, key, part, kind):
    found = check(text, kind)

    assert len(found) == 1, found
    assert found[0].startswith(f"worker_spec.yaml:{line}: {key} ")
    assert re.search(".*".join(map(re.escape, part.split(" .* "))), found[0]), found[0]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (SEED.read_text(), "Pod"),
        (BIG, "Pod"),
        (TEMPLATE, "Pod"),
        (NULLS, "Pod"),
        ("{}", "Pod"),
        ("spec: {replicas: 3}", "Pod"),
        ("---\n# a comment\nspec: {}\n---\n", "Pod"),
        (JOB, "Job"),
        ("spec: {template: {spec: {}}}", "Job"),
    ],
)
def test_valid_manifest_has_no_problems(text, kind):
    assert check(text, kind) == []


def test_all_problems_are_found_in_the_order_of_their_lines():
    found = check(
        """\
kind: pod
spec:
  containers:
    - args: dask worker
      image: 5
      resources:
        requests: {memory: 4GB}
      volumeMounts: [{name: x, mountPath: /x, path: /y}]
  restartPolicy: never
  nodeselector: {}
metadata: {labels: {a: 1, b: 2}}
"""
    )

    assert [problem.split(":")[1] for problem in found] == ["1", "4", "5", "7", "8", "8", "9", "10", "11", "11"]
    assert len(set(found)) == len(found)


def test_anchors_and_merges_keep_the_lines_of_their_source():
    document = pod_check.load(
        """\
spec:
  containers:
    - &base
      name: a
      image: x
      tty: 5
    - <<: *base
      name: b
  volumes: &volumes []
  imagePullSecrets: *volumes
""",
        "w.yaml",
    )
    found = pod_check.problems(document, "w.yaml", "Pod")

    assert document.data["spec"]["containers"][1] == {"name": "b", "image": "x", "tty": 5}
    assert [problem.partition(" must")[0] for problem in found] == [
        "w.yaml:6: spec.containers[0].tty",
        "w.yaml:6: spec.containers[1].tty",
    ]
    assert document.lines["spec", "containers", 1, "name"] == 8


def test_nulls_of_mappings_are_as_good_as_absent():
    assert pod_check.load(NULLS, "w.yaml").data == {"spec": {"containers": [{"name": "w", "resources": {}}]}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "w.yaml:1: a Pod manifest must be a YAML mapping; the file is empty"),
        ("# nothing\n---\n", "w.yaml:1: a Pod manifest must be a YAML mapping; the file is empty"),
        ("\n- a", "w.yaml:2: a Pod manifest must be a YAML mapping, not list"),
        ("text", "w.yaml:1: a Pod manifest must be a YAML mapping, not str"),
        ("a: b\n c: d: e", "w.yaml:2: not YAML: mapping values are not allowed here"),
        ("a: [b\n", "w.yaml:2: not YAML: expected ',' or ']'"),
        ("a: 1\nb: 2\na: 3", "w.yaml:3: not YAML: the key 'a' is already in line 1; keep one of them"),
        ("a: [{b: {c: 1,\nc: 2}}]", "w.yaml:2: not YAML: the key 'c' is already in line 1"),
        ("a: 1\n---\nb: 2", "w.yaml:3: not YAML of one document: another begins here"),
        ("a: *b", "w.yaml:1: not YAML: found undefined alias 'b'"),
        ("a: &a\n  b: *a", "w.yaml:1: not YAML of a Pod: it is nested too deep, or an anchor holds itself"),
        ("a: &a\n  <<: *a\n  b: [*a]", "an anchor holds itself"),
        ("a: " + "[" * 5000, "nested too deep"),
        ("image: {{ image }}", "w.yaml:1: not YAML: a key must be a text; quote it"),
        ("a: !!python/name:os.system x", "w.yaml:1: not YAML: could not determine a constructor"),
        ("a: !mine {b: c}", "w.yaml:1: not YAML: the tag !mine has no meaning in a manifest"),
        ("a: !!set {b}", "w.yaml:1: not YAML: the tag !!set has no meaning"),
        ("'a\n\n  b': 1", "w.yaml:3: not YAML: mapping values are not allowed here"),
        ("a: !!int 'b\n\n  c'", r"w.yaml:1: not YAML: b\nc is not a int"),
        ("b: 1\na: 2026-13-45", "w.yaml:2: not YAML: 2026-13-45 is not a timestamp; quote it"),
        ("a: !!int x", "w.yaml:1: not YAML: x is not a int; quote it"),
        ("a: !!int ''", "w.yaml:1: not YAML:  is not a int"),
        ("a: !!bool x", "w.yaml:1: not YAML: x is not a bool"),
        ("a: !!timestamp x", "w.yaml:1: not YAML: x is not a timestamp"),
        ("a: 1\nb: \x01", "w.yaml:2: not YAML: special characters are not allowed"),
        (
            "\n".join(f"a{n}: &a{n} [{f'*a{n - 1},' * 9 if n else 1}]" for n in range(9)),
            "more than 100000 keys and items",
        ),
    ],
)
def test_text_that_is_no_manifest_is_one_sentence_with_the_line(text, message):
    with pytest.raises(InputError) as caught:
        pod_check.load(text, "w.yaml")

    assert message in str(caught.value)
    assert re.match(r"w\.yaml:\d+: ", str(caught.value))
    assert "\n" not in str(caught.value)


def places(data, path=()):
    yield path
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield from places(value, (*path, key))


def replaced(data, path, value):
    made = copy.deepcopy(data)
    place = made
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    return made


@pytest.mark.parametrize("number", range(20))
def test_no_substitution_breaks_the_check(number):
    chosen = random.Random(number)  # noqa: S311 # no secret
    valid = pod_check.load(BIG, "w.yaml").data
    values = [
        None,
        True,
        0,
        -1,
        2**70,
        1.5,
        float("nan"),
        "",
        "a b\nc",
        [],
        [None],
        [[1]],
        {},
        {"name": []},
        {1: {2: 3}},
    ]
    for path in chosen.sample([place for place in places(valid) if place], 6):
        text = yaml.safe_dump(replaced(valid, path, chosen.choice(values)), allow_unicode=True)
        document = pod_check.load(text, "w.yaml")
        found = [*pod_check.problems(document, "w.yaml", "Pod"), *pod_check.problems(document, "w.yaml", "Job")]
        assert [problem for problem in found if not re.fullmatch(r"w\.yaml:\d+: \S.* \S+", problem)] == []


@pytest.mark.parametrize("number", range(20))
def test_no_damage_to_the_text_raises_anything_but_an_input_error(number):
    chosen = random.Random(number)  # noqa: S311 # no secret
    for _ in range(5):
        start = chosen.randrange(len(BIG))
        text = BIG[:start] + chosen.choice(":-{}[]&*!|>'\"%@`\t\n\0?,#") + BIG[start + chosen.randrange(3) :]
        try:
            check(text)
        except InputError as error:
            assert re.match(r"worker_spec\.yaml:\d+: ", str(error))  # noqa: PT017 # most texts raise nothing


def test_schemas_references_and_patterns_are_whole():
    text = Path(pod_check.__file__).with_name("pod_schema.json").read_text()
    schema = json.loads(text)

    assert re.search(r"Kubernetes v1\.\d+", schema["$comment"])
    assert set(re.findall(r'"#/\$defs/(\w+)"', text)) | {"Pod", "Job"} == schema["$defs"].keys()
    for definition in schema["$defs"].values():
        re.compile(definition.get("pattern", ""))
        assert definition.get("additionalProperties", False) is False or "properties" not in definition


def test_keywords_of_the_schema_all_have_a_message():
    schema = json.loads(Path(pod_check.__file__).with_name("pod_schema.json").read_text())
    silent = {"items", "properties", "propertyNames", "description", "examples", "$ref"}
    used = {key for definition in schema["$defs"].values() for key in definition} | {
        key
        for definition in schema["$defs"].values()
        for field in definition.get("properties", {}).values()
        for key in field
    }

    assert used - silent == pod_check.CHECKS.keys()
