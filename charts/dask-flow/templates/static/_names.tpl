{{/* Name of the Service that clients and workers reach the scheduler by. */}}
{{- define "dask-flow.static.service" -}}
{{- .Values.static.service.name | default (printf "%s-scheduler" (include "dask-flow.fullname" .)) }}
{{- end }}

{{- define "dask-flow.static.address" -}}
{{ empty (include "dask-flow.static.tlsSecret" .) | ternary "tcp" "tls" }}://{{ include "dask-flow.static.service" . }}:{{ .Values.static.service.port }}
{{- end }}

{{/* Name of the Secret with the cluster's keys; empty without TLS. */}}
{{- define "dask-flow.static.tlsSecret" -}}
{{- with .Values.static.tls }}
{{- .secretName | default .certificate.secretName | default (empty .certificate | ternary "" (printf "%s-tls" (include "dask-flow.fullname" $))) }}
{{- end }}
{{- end }}

{{- define "dask-flow.static.schedulerLabels" -}}
{{ include "dask-flow.selectorLabels" . }}
app.kubernetes.io/component: scheduler
{{- end }}

{{/* The labels of a group's workers, given `root` and `group`. */}}
{{- define "dask-flow.static.workerLabels" -}}
{{ include "dask-flow.selectorLabels" .root }}
app.kubernetes.io/component: worker
dask-flow/worker-group: {{ .group.name | quote }}
{{- end }}

{{/* All groups of workers as JSON: static.worker, named default, and static.workerGroups merged over it. */}}
{{- define "dask-flow.static.workerGroups" -}}
{{- $worker := .Values.static.worker }}
{{- $groups := list (set (deepCopy $worker) "name" "default") }}
{{- range .Values.static.workerGroups }}
{{- $groups = append $groups (mergeOverwrite (deepCopy $worker) (deepCopy .)) }}
{{- end }}
{{- toJson $groups }}
{{- end }}

{{/* Name of a group's objects, given `root` and `group`. */}}
{{- define "dask-flow.static.workerName" -}}
{{ include "dask-flow.fullname" .root }}-worker{{ if ne .group.name "default" }}-{{ .group.name }}{{ end }}
{{- end }}

{{/* Where people see the dashboard: at the Ingress, else at the Service. */}}
{{- define "dask-flow.static.dashboardLink" -}}
{{- with .Values.static.dashboard }}
{{- if and .ingress.enabled .ingress.hosts }}
{{- empty .ingress.tls | ternary "http" "https" }}://{{ first .ingress.hosts }}/status
{{- else -}}
http://{{ include "dask-flow.fullname" $ }}-dashboard.{{ $.Release.Namespace }}:{{ .service.port }}/status
{{- end }}
{{- end }}
{{- end }}

{{/* The hosts from which the dashboard's pages may open a websocket, as a list of JSON's, which is one of Python's. */}}
{{- define "dask-flow.static.websocketOrigins" -}}
{{- with .Values.static.dashboard }}
{{- $service := printf "%s-dashboard" (include "dask-flow.fullname" $) }}
{{- $origins := list "localhost:8787" "127.0.0.1:8787" }}
{{- range list $service (printf "%s.%s" $service $.Release.Namespace) (printf "%s.%s.svc" $service $.Release.Namespace) }}
{{- $origins = append $origins (printf "%s:%v" . $.Values.static.dashboard.service.port) }}
{{- end }}
{{- if .ingress.enabled }}
{{- $origins = concat .ingress.hosts $origins }}
{{- end }}
{{- .allowedWebsocketOrigins | default $origins | toJson }}
{{- end }}
{{- end }}
