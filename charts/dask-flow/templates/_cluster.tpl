{{/* The address of the static cluster that runs use: the given one, or this release's; empty for none. */}}
{{- define "dask-flow.address" -}}
{{- if .Values.cluster.address }}
{{- .Values.cluster.address }}
{{- else if and .Values.static.enabled (has .Values.cluster.mode (list "auto" "static")) }}
{{- include "dask-flow.static.address" . }}
{{- end }}
{{- end }}

{{/* Whether runs make a cluster, for which the runner talks to Kubernetes: true or empty. */}}
{{- define "dask-flow.makesCluster" -}}
{{- if and (has .Values.cluster.mode (list "auto" "pods" "operator")) (not (include "dask-flow.address" .)) }}true{{ end }}
{{- end }}

{{/* The Secret by which the runner reaches a static cluster; empty for none. */}}
{{- define "dask-flow.runnerTlsSecret" -}}
{{- if .Values.cluster.tlsSecretName }}
{{- .Values.cluster.tlsSecretName }}
{{- else if and (not .Values.cluster.address) (include "dask-flow.address" .) }}
{{- include "dask-flow.static.tlsSecret" . }}
{{- end }}
{{- end }}

{{/* Dask's configuration for mutual TLS with the keys in /etc/dask-flow/tls. */}}
{{- define "dask-flow.tlsEnv" -}}
- name: DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION
  value: "True"
- name: DASK_DISTRIBUTED__COMM__TLS__CA_FILE
  value: /etc/dask-flow/tls/ca.crt
{{- range list "CLIENT" "SCHEDULER" "WORKER" }}
- name: DASK_DISTRIBUTED__COMM__TLS__{{ . }}__CERT
  value: /etc/dask-flow/tls/tls.crt
- name: DASK_DISTRIBUTED__COMM__TLS__{{ . }}__KEY
  value: /etc/dask-flow/tls/tls.key
{{- end }}
{{- end }}
