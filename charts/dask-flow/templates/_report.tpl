{{/* The claim that the runner writes its report to: an existing one, or the release's; empty for none. */}}
{{- define "dask-flow.reportClaim" -}}
{{- with .Values.report }}
{{- .persistentVolumeClaim | default (empty .persistentVolumeClaimSpec | ternary "" (printf "%s-report" (include "dask-flow.fullname" $))) }}
{{- end }}
{{- end }}

{{/* Where reports go: a URL, or the folder at which the claim is mounted; empty for nowhere. */}}
{{- define "dask-flow.report" -}}
{{- .Values.report.url | default (empty (include "dask-flow.reportClaim" .) | ternary "" "/var/lib/dask-flow/report") }}
{{- end }}
