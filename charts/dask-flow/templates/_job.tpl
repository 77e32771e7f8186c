{{/* The spec of a run's Job. */}}
{{- define "dask-flow.jobSpec" -}}
{{- with .Values.run }}
backoffLimit: {{ int64 .backoffLimit }}
{{- with .activeDeadlineSeconds }}{{ int64 . | printf "activeDeadlineSeconds: %d" | nindent 0 }}{{ end }}
{{- if not (or (kindIs "invalid" .ttlSecondsAfterFinished) (eq .mode "workflow")) }}{{ int64 .ttlSecondsAfterFinished | printf "ttlSecondsAfterFinished: %d" | nindent 0 }}{{ end }}
{{- if .suspend }}{{ nindent 0 "suspend: true" }}{{ end }}
{{- end }}
podFailurePolicy:
  rules:
    # A runner that was evicted may still exit with any code; another attempt is made, within backoffLimit.
    - action: Count
      onPodConditions: [{type: DisruptionTarget, status: "True"}]
    # 1: the flow failed, 2: bad input. Another attempt would end in the same way.
    - action: FailJob
      onExitCodes: {containerName: runner, operator: In, values: [1, 2]}
template:
  metadata:
    {{- include "dask-flow.runnerPodMetadata" . | nindent 4 }}
  spec:
    {{- $spec := include "dask-flow.runnerPodSpec" . }}
    {{- include "dask-flow.mergedPodSpec" (dict "spec" $spec "over" .Values.runner.podSpec) | nindent 4 }}
{{- end }}

{{/* The runner's labels and annotations. Files and specs that change make another Job of them. */}}
{{- define "dask-flow.runnerPodMetadata" -}}
{{- $queue := include "dask-flow.queueLabels" . | fromYaml }}
{{- $own := include "dask-flow.selectorLabels" . | fromYaml | merge (dict "app.kubernetes.io/component" "runner") $queue }}
{{- $files := list .Values.flow.files .Values.cluster.workerSpec .Values.cluster.schedulerSpec }}
{{- $annotations := toJson $files | sha256sum | set (deepCopy .Values.runner.podAnnotations) "dask-flow/files-checksum" }}
{{- include "dask-flow.podMetadata" (dict "root" . "own" $own "labels" .Values.runner.podLabels "annotations" $annotations) }}
{{- end }}

{{/* Argo CD waits for what is before the Job: the static cluster, but not a claim that waits for its first pod, which is the Job's. */}}
{{- define "dask-flow.jobWave" -}}
{{- if and (eq .Values.run.mode "job") .Values.static.enabled }}argocd.argoproj.io/sync-wave: "1"{{ end }}
{{- end }}

{{/* The label by which Kueue admits a run's Job; runners hand it on to the pods of their clusters. */}}
{{- define "dask-flow.queueLabels" -}}
{{- with .Values.run.queueName }}kueue.x-k8s.io/queue-name: {{ quote . }}{{ end }}
{{- end }}
