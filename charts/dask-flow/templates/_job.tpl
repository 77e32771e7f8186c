{{/* The spec of a run's Job. */}}
{{- define "dask-flow.jobSpec" -}}
{{- with .Values.run }}
backoffLimit: {{ .backoffLimit }}
{{- if kindIs "invalid" .activeDeadlineSeconds | not }}
activeDeadlineSeconds: {{ .activeDeadlineSeconds }}
{{- end }}
{{- if kindIs "invalid" .ttlSecondsAfterFinished | not }}
ttlSecondsAfterFinished: {{ .ttlSecondsAfterFinished }}
{{- end }}
{{- if .suspend }}
suspend: true
{{- end }}
{{- end }}
podFailurePolicy:
  rules:
    # A runner that was evicted may still exit with any code; another attempt is made, within backoffLimit.
    - action: Count
      onPodConditions:
        - type: DisruptionTarget
    # 1: the flow failed, 2: bad input. Another attempt would end in the same way.
    - action: FailJob
      onExitCodes:
        containerName: runner
        operator: In
        values: [1, 2]
template:
  metadata:
    labels:
      {{- include "dask-flow.selectorLabels" . | nindent 6 }}
      app.kubernetes.io/component: runner
    {{- if include "dask-flow.hasFiles" . }}
    annotations:
      dask-flow/files-checksum: {{ list .Values.flow.files .Values.cluster.workerSpec .Values.cluster.schedulerSpec | toJson | sha256sum }}
    {{- end }}
  spec:
    {{- include "dask-flow.mergedPodSpec" . | nindent 4 }}
{{- end }}

{{/* The runner's pod, with runner.podSpec merged over it. */}}
{{- define "dask-flow.mergedPodSpec" -}}
{{- $spec := include "dask-flow.podSpec" . | fromYaml }}
{{- $over := deepCopy .Values.runner.podSpec }}
{{- $runner := first $spec.containers }}
{{- $containers := list }}
{{- range $container := $over.containers }}
{{- if eq $container.name "runner" }}
{{- range $key := list "env" "envFrom" "volumeMounts" }}
{{- $_ := set $container $key (concat (get $runner $key | default list) (get $container $key | default list)) }}
{{- end }}
{{- $runner = mergeOverwrite $runner $container }}
{{- else }}
{{- $containers = append $containers $container }}
{{- end }}
{{- end }}
{{- $_ := set $over "containers" (prepend $containers $runner) }}
{{- range $key := list "volumes" "imagePullSecrets" }}
{{- with concat (get $spec $key | default list) (get $over $key | default list) }}
{{- $_ := set $over $key . }}
{{- end }}
{{- end }}
{{- mergeOverwrite $spec $over | toYaml }}
{{- end }}

{{- define "dask-flow.podSpec" -}}
restartPolicy: Never
serviceAccountName: {{ include "dask-flow.serviceAccountName" . }}
automountServiceAccountToken: {{ has .Values.cluster.mode (list "auto" "pods") }}
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  seccompProfile:
    type: RuntimeDefault
containers:
  - name: runner
    image: {{ include "dask-flow.image" . }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    args:
      - run
      {{- with include "dask-flow.target" . }}
      - {{ . }}
      {{- end }}
    env:
      {{- include "dask-flow.env" . | nindent 6 }}
    {{- with .Values.flow.envFrom }}
    envFrom:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with .Values.runner.resources }}
    resources:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities:
        drop: [ALL]
    volumeMounts:
      - name: tmp
        mountPath: /tmp
      {{- if include "dask-flow.hasFiles" . }}
      - name: files
        mountPath: /etc/dask-flow
        readOnly: true
      {{- end }}
volumes:
  - name: tmp
    emptyDir: {}
  {{- if include "dask-flow.hasFiles" . }}
  - name: files
    projected:
      sources:
        {{- if .Values.flow.files }}
        - configMap:
            name: {{ include "dask-flow.fullname" . }}-flow
            items:
              {{- range $name, $_ := .Values.flow.files }}
              - key: {{ $name }}
                path: flow/{{ $name }}
              {{- end }}
        {{- end }}
        {{- if or .Values.cluster.workerSpec .Values.cluster.schedulerSpec }}
        - configMap:
            name: {{ include "dask-flow.fullname" . }}-specs
        {{- end }}
  {{- end }}
{{- end }}

{{/* The runner's settings; those that are not given are left to the flow and to the runner's defaults. */}}
{{- define "dask-flow.env" -}}
- name: DASK_FLOW_POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: DASK_FLOW_POD_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
{{- with .Values.cluster }}
{{- if ne .mode "auto" }}
- name: DASK_FLOW_CLUSTER
  value: {{ .mode }}
{{- end }}
{{- with .address }}
- name: DASK_FLOW_ADDRESS
  value: {{ . | quote }}
{{- end }}
{{- with .minWorkers }}
- name: DASK_FLOW_MIN_WORKERS
  value: {{ . | quote }}
{{- end }}
{{- with .maxWorkers }}
- name: DASK_FLOW_MAX_WORKERS
  value: {{ . | quote }}
{{- end }}
{{- if .workerSpec }}
- name: DASK_FLOW_WORKER_SPEC
  value: /etc/dask-flow/worker_spec.yaml
{{- end }}
{{- if .schedulerSpec }}
- name: DASK_FLOW_SCHEDULER_SPEC
  value: /etc/dask-flow/scheduler_spec.yaml
{{- end }}
{{- with .scheduler }}
- name: DASK_FLOW_SCHEDULER
  value: {{ . }}
{{- end }}
- name: DASK_FLOW_TLS
  value: {{ .tls | quote }}
{{- if kindIs "bool" .workStealing }}
- name: DASK_FLOW_WORK_STEALING
  value: {{ .workStealing | quote }}
{{- end }}
{{- with .adaptive.intervalSeconds }}
- name: DASK_FLOW_ADAPTIVE_INTERVAL
  value: {{ . | quote }}
{{- end }}
{{- with .adaptive.targetDurationSeconds }}
- name: DASK_FLOW_ADAPTIVE_TARGET_DURATION
  value: {{ . | quote }}
{{- end }}
{{- with .adaptive.waitCount }}
- name: DASK_FLOW_ADAPTIVE_WAIT_COUNT
  value: {{ . | quote }}
{{- end }}
{{- if kindIs "invalid" .allowedFailures | not }}
- name: DASK_FLOW_ALLOWED_FAILURES
  value: {{ .allowedFailures | quote }}
{{- end }}
{{- with .image }}
- name: DASK_FLOW_IMAGE
  value: {{ . | quote }}
{{- end }}
- name: DASK_FLOW_STARTUP_TIMEOUT
  value: {{ .startupTimeoutSeconds | quote }}
{{- end }}
{{- with .Values.flow.params }}
- name: DASK_FLOW_PARAMS
  value: {{ toJson . | quote }}
{{- end }}
{{- with .Values.flow.args }}
- name: DASK_FLOW_ARGS
  value: {{ toJson . | quote }}
{{- end }}
{{- with .Values.flow.env }}
{{ toYaml . }}
{{- end }}
{{- end }}
