{{/* The values with the runner's own flow for this release's, on one worker, as JSON. */}}
{{- define "dask-flow.test.values" -}}
{{- $flow := dict "target" "dask_flow.selftest" "files" dict "params" dict "args" list }}
{{- $own := dict "flow" (merge $flow (pick .Values.flow "env" "envFrom")) "report" (dict "url" "" "persistentVolumeClaim" "" "persistentVolumeClaimSpec" dict) }}
{{- $_ := set $own "run" (set (deepCopy .Values.run) "notify" (dict "secretName" "")) }}
{{- $_ := set $own "cluster" (merge (dict "minWorkers" 1 "maxWorkers" 1) .Values.cluster) }}
{{- merge $own (omit .Values "flow" "report" "run" "cluster") | toJson }}
{{- end }}
