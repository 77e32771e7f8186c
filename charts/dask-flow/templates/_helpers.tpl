{{- define "dask-flow.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 52 | trimSuffix "-" }}
{{- end }}

{{/* A CronJob's name has at most 52 characters, a Service's no dot. */}}
{{- define "dask-flow.fullname" -}}
{{- $name := include "dask-flow.name" . }}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- .Values.fullnameOverride | default $full | replace "." "-" | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "dask-flow.selectorLabels" -}}
app.kubernetes.io/name: {{ include "dask-flow.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "dask-flow.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "dask-flow.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* An object's metadata, given `root`, its `name` or the `suffix` of the release's, and `labels` and `annotations` of its own. */}}
{{- define "dask-flow.metadata" -}}
name: {{ .name | default (printf "%s%s" (include "dask-flow.fullname" .root) (.suffix | default "")) | quote }}
namespace: {{ .root.Release.Namespace | quote }}
{{ include "dask-flow.marks" (merge (dict "own" (include "dask-flow.labels" .root | fromYaml)) .) }}
{{- end }}

{{/* A pod's labels and annotations, given `root`, what it is selected by as `own`, and the values' `labels` and `annotations`. */}}
{{- define "dask-flow.podMetadata" -}}
{{- /* All pods of this release carry it, those that its runners make too: its NetworkPolicy selects them by it. */}}
{{- $release := dict "dask-flow/release" (include "dask-flow.fullname" .root) }}
{{- include "dask-flow.marks" (dict "root" .root "labels" (merge $release .own (deepCopy .labels)) "annotations" .annotations) }}
{{- end }}

{{/* Labels and annotations: those of the values for all objects, those of all objects as `own`, and those of this one. */}}
{{- define "dask-flow.marks" -}}
labels:
  {{- mergeOverwrite (deepCopy .root.Values.commonLabels) (.own | default dict) (.labels | default dict) | toYaml | nindent 2 }}
{{- with mergeOverwrite (deepCopy .root.Values.commonAnnotations) (.annotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "dask-flow.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "dask-flow.fullname" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{/* The runner's image; global.imageRegistry takes the place of its registry. */}}
{{- define "dask-flow.image" -}}
{{- $name := .Values.image.repository }}
{{- with .Values.global.imageRegistry }}{{ $name = regexReplaceAll "^([^/]*[.:][^/]*|localhost)/" $name "" | printf "%s/%s" . }}{{ end }}
{{- with .Values.image }}{{ $name }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}{{ end }}
{{- end }}

{{/* The target with the path at which its file is mounted; empty when there is none to run. */}}
{{- define "dask-flow.target" -}}
{{- $files := keys .Values.flow.files | sortAlpha }}
{{- $target := .Values.flow.target | default (eq (len $files) 1 | ternary (first $files) "") }}
{{- if has (first (splitList ":" $target)) $files }}/etc/dask-flow/flow/{{ end }}{{ $target }}
{{- end }}
