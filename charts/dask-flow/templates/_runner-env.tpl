{{/* The runner's settings; those that are not given are left to the flow and to the runner's defaults. */}}
{{- define "dask-flow.runnerEnv" -}}
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
{{- with include "dask-flow.address" $ }}
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
{{- if kindIs "bool" .tls }}
- name: DASK_FLOW_TLS
  value: {{ .tls | quote }}
{{- end }}
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
{{- if include "dask-flow.runnerTlsSecret" . }}
{{ include "dask-flow.tlsEnv" . }}
{{- end }}
{{- if and (not .Values.cluster.address) (include "dask-flow.address" .) }}
- name: DASK_DISTRIBUTED__DASHBOARD__LINK
  value: {{ include "dask-flow.static.dashboardLink" . }}
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
