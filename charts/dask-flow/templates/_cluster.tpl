{{/* The address of the static cluster that runs use: the given one, or this release's; empty for none. */}}
{{- define "dask-flow.address" -}}
{{- $own := and .Values.static.enabled (has .Values.cluster.mode (list "auto" "static")) }}
{{- .Values.cluster.address | default (ternary (include "dask-flow.static.address" .) "" $own) }}
{{- end }}

{{/* Whether runs make a cluster: true or empty. */}}
{{- define "dask-flow.makesCluster" -}}
{{- if and (has .Values.cluster.mode (list "auto" "pods" "operator")) (not (include "dask-flow.address" .)) }}true{{ end }}
{{- end }}

{{/* Whether the runner talks to Kubernetes, to make a cluster or to read how many attempts its Job has left: true or empty. */}}
{{- define "dask-flow.asksKubernetes" -}}
{{- if or (include "dask-flow.makesCluster" .) .Values.run.notify.secretName }}true{{ end }}
{{- end }}

{{/* The Secret by which the runner reaches a static cluster; empty for none. */}}
{{- define "dask-flow.runnerTlsSecret" -}}
{{- $own := and (not .Values.cluster.address) (include "dask-flow.address" . | empty | not) }}
{{- .Values.cluster.tlsSecretName | default (ternary (include "dask-flow.static.tlsSecret" .) "" $own) }}
{{- end }}

{{/* Dask's configuration for mutual TLS with the keys in /etc/dask-flow/tls. */}}
{{- define "dask-flow.tlsEnv" -}}
- {name: DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION, value: "True"}
- {name: DASK_DISTRIBUTED__COMM__TLS__CA_FILE, value: /etc/dask-flow/tls/ca.crt}
{{- range list "CLIENT" "SCHEDULER" "WORKER" }}
- {name: DASK_DISTRIBUTED__COMM__TLS__{{ . }}__CERT, value: /etc/dask-flow/tls/tls.crt}
- {name: DASK_DISTRIBUTED__COMM__TLS__{{ . }}__KEY, value: /etc/dask-flow/tls/tls.key}
{{- end }}
{{- end }}
