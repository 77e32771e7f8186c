{{/* The runner's settings; those that are not given are left to the flow and to the runner's defaults. Kubernetes makes $$ a dollar. */}}
{{- define "dask-flow.runnerEnv" -}}
- {name: DASK_FLOW_POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
- {name: DASK_FLOW_POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
- {name: DASK_FLOW_RUN, valueFrom: {fieldRef: {fieldPath: "metadata.labels['batch.kubernetes.io/job-name']"}}}
{{- $settings := dict
  "CLUSTER" (eq .Values.cluster.mode "auto" | ternary "" .Values.cluster.mode)
  "ADDRESS" (include "dask-flow.address" .)
  "MIN_WORKERS" .Values.cluster.minWorkers "MAX_WORKERS" .Values.cluster.maxWorkers
  "IMAGE" .Values.cluster.image "QUEUE_NAME" .Values.cluster.queueName
  "WORKER_SPEC" (empty .Values.cluster.workerSpec | ternary "" "/etc/dask-flow/worker_spec.yaml")
  "SCHEDULER_SPEC" (empty .Values.cluster.schedulerSpec | ternary "" "/etc/dask-flow/scheduler_spec.yaml")
  "SCHEDULER" .Values.cluster.scheduler
  "TLS" .Values.cluster.tls "WORK_STEALING" .Values.cluster.workStealing
  "ADAPTIVE_INTERVAL" .Values.cluster.adaptive.intervalSeconds
  "ADAPTIVE_TARGET_DURATION" .Values.cluster.adaptive.targetDurationSeconds
  "ADAPTIVE_WAIT_COUNT" .Values.cluster.adaptive.waitCount
  "ALLOWED_FAILURES" .Values.cluster.allowedFailures "STARTUP_TIMEOUT" .Values.cluster.startupTimeoutSeconds
  "REPORT" (include "dask-flow.report" .)
  "NOTIFY_WHEN" (empty .Values.run.notify.secretName | ternary "" .Values.run.notify.when)
  "PARAMS" (or (eq .Values.run.mode "workflow") (empty .Values.flow.params) | ternary "" (toJson .Values.flow.params))
  "ARGS" (empty .Values.flow.args | ternary "" (toJson .Values.flow.args)) }}
{{- range $name, $value := $settings }}
{{- if not (or (kindIs "invalid" $value) (eq (toString $value) "")) }}
- {name: DASK_FLOW_{{ $name }}, value: {{ kindIs "float64" $value | ternary (toJson $value) $value | toString | replace "$" "$$" | quote }}}
{{- end }}
{{- end }}
{{- with .Values.run.notify }}{{ if .secretName }}
- {name: DASK_FLOW_NOTIFY, valueFrom: {secretKeyRef: {name: {{ quote .secretName }}, key: {{ quote .secretKey }}}}}
{{- end }}{{ end }}
{{- if include "dask-flow.runnerTlsSecret" . }}
{{ include "dask-flow.tlsEnv" . }}
{{- end }}
{{- if and (not .Values.cluster.address) (include "dask-flow.address" .) }}
- {name: DASK_DISTRIBUTED__DASHBOARD__LINK, value: {{ include "dask-flow.static.dashboardLink" . | quote }}}
{{- end }}
{{- with .Values.flow.env }}{{ toYaml . | nindent 0 }}{{ end }}
{{- end }}
