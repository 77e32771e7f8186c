{{/* What scheduler and workers share in their container: environment, TLS and /tmp. `root`, and `env`, a YAML text. */}}
{{- define "dask-flow.static.container" -}}
{{- $static := .root.Values.static }}
{{- $tls := include "dask-flow.static.tlsSecret" .root }}
{{- include "dask-flow.containerDefaults" .root }}
# The pod's status then says how the log ended.
terminationMessagePolicy: FallbackToLogsOnError
env:
  {{- $env := fromYamlArray .env }}
  {{- if $tls }}
  {{- $env = include "dask-flow.tlsEnv" .root | fromYamlArray | concat $env }}
  {{- end }}
  {{- include "dask-flow.unique" (dict "key" "name" "items" (concat $env $static.env)) | fromJsonArray | toYaml | nindent 2 }}
{{- with $static.envFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  - name: tmp
    mountPath: /tmp
  {{- if $tls }}
  - name: tls
    mountPath: /etc/dask-flow/tls
    readOnly: true
  {{- end }}
{{- end }}

{{- define "dask-flow.static.volumes" -}}
- name: tmp
  emptyDir: {}
{{- with include "dask-flow.static.tlsSecret" . }}
- name: tls
  secret:
    secretName: {{ . }}
{{- end }}
{{- end }}
