{{- define "dask-flow.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 52 | trimSuffix "-" }}
{{- end }}

{{/* A CronJob's name has at most 52 characters. */}}
{{- define "dask-flow.fullname" -}}
{{- $name := include "dask-flow.name" . }}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- .Values.fullnameOverride | default $full | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "dask-flow.selectorLabels" -}}
app.kubernetes.io/name: {{ include "dask-flow.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "dask-flow.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "dask-flow.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "dask-flow.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "dask-flow.fullname" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- define "dask-flow.image" -}}
{{- with .Values.image }}
{{- .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{/* The target with the path at which its file is mounted; empty when there is none to run. */}}
{{- define "dask-flow.target" -}}
{{- $files := keys .Values.flow.files | sortAlpha }}
{{- $target := .Values.flow.target | default (eq (len $files) 1 | ternary (first $files) "") }}
{{- if has (first (splitList ":" $target)) $files }}/etc/dask-flow/flow/{{ end }}{{ $target }}
{{- end }}
