{{/* What scheduler and workers share in their container. `root`, `env` as YAML, `ready`: the path of the readiness probe. */}}
{{- define "dask-flow.static.container" -}}
{{- $env := fromYamlArray .env }}
{{- if include "dask-flow.static.tlsSecret" .root }}{{ $env = include "dask-flow.tlsEnv" .root | fromYamlArray | concat $env }}{{ end }}
{{- include "dask-flow.containerDefaults" .root }}
env: {{ include "dask-flow.unique" (dict "key" "name" "items" (concat $env .root.Values.static.env)) }}
envFrom: {{ toJson .root.Values.static.envFrom }}
readinessProbe: {httpGet: {path: {{ .ready }}, port: http-dashboard}, periodSeconds: 2, timeoutSeconds: 2}
# One that is busy for long is left alone: for a worker as long as Dask itself waits (distributed.scheduler.worker-ttl),
# for a task may hold Python's lock; with the scheduler ends the cluster. One that hangs is not.
livenessProbe: {httpGet: {path: /health, port: http-dashboard}, periodSeconds: 30, timeoutSeconds: 15, failureThreshold: 10}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  {{- if include "dask-flow.static.tlsSecret" .root }}
  - {name: tls, mountPath: /etc/dask-flow/tls, readOnly: true}
  {{- end }}
{{- end }}

{{- define "dask-flow.static.volumes" -}}
- {name: tmp, emptyDir: {}}
{{- with include "dask-flow.static.tlsSecret" . }}
- {name: tls, secret: {secretName: {{ quote . }}}}
{{- end }}
{{- end }}
