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
    {{- if or .Values.flow.files .Values.cluster.workerSpec .Values.cluster.schedulerSpec }}
    annotations:
      dask-flow/files-checksum: {{ list .Values.flow.files .Values.cluster.workerSpec .Values.cluster.schedulerSpec | toJson | sha256sum }}
    {{- end }}
  spec:
    {{- $spec := include "dask-flow.runnerPodSpec" . }}
    {{- include "dask-flow.mergedPodSpec" (dict "spec" $spec "over" .Values.runner.podSpec) | nindent 4 }}
{{- end }}
