{{/* A Deployment, given `root`, `suffix`, the `labels` that it selects by, `replicas`, `strategy`, the pod's `spec`, and `of`: the values for its pods. */}}
{{- define "dask-flow.static.deployment" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "dask-flow.metadata" . | nindent 2 }}
spec:
  replicas: {{ int .replicas }}
  strategy: {{ toJson .strategy }}
  selector: {matchLabels: {{ toJson .labels }}}
  template:
    metadata:
      {{- $pod := dict "own" .labels "labels" .of.podLabels "annotations" .of.podAnnotations }}
      {{- include "dask-flow.podMetadata" (set $pod "root" .root) | nindent 6 }}
    spec:
      {{- include "dask-flow.mergedPodSpec" (dict "spec" .spec "over" .of.podSpec) | nindent 6 }}
{{- end }}
