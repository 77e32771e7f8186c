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
{{- $groups := list (set (deepCopy .Values.static.worker) "name" "default") }}
{{- range .Values.static.workerGroups }}{{ $groups = deepCopy . | mergeOverwrite (deepCopy $.Values.static.worker) | append $groups }}{{ end }}
{{- toJson $groups }}
{{- end }}

{{/* Where people see the dashboard: at the Ingress, else at the Service. */}}
{{- define "dask-flow.static.dashboardLink" -}}
{{- with .Values.static.dashboard }}
{{- $host := printf "%s-dashboard.%s:%v" (include "dask-flow.fullname" $) $.Release.Namespace .service.port }}
{{- empty .ingress.tls | or (not .ingress.enabled) | ternary "http" "https" }}://{{ ternary (first .ingress.hosts) $host .ingress.enabled }}/status
{{- end }}
{{- end }}

{{/* The hosts from which the dashboard's pages may open a websocket, as a list of JSON's, which is one of Python's. */}}
{{- define "dask-flow.static.websocketOrigins" -}}
{{- with .Values.static.dashboard }}
{{- $origins := concat (.ingress.enabled | ternary .ingress.hosts list) (list "localhost:8787" "127.0.0.1:8787") }}
{{- range $suffix := list "" (printf ".%s" $.Release.Namespace) (printf ".%s.svc" $.Release.Namespace) }}
{{- $origins = printf "%s-dashboard%s:%v" (include "dask-flow.fullname" $) $suffix $.Values.static.dashboard.service.port | append $origins }}
{{- end }}
{{- .allowedWebsocketOrigins | default $origins | toJson }}
{{- end }}
{{- end }}
