{{/* What every pod of the chart's has, whatever it runs: Pod Security "restricted". */}}
{{- define "dask-flow.podDefaults" -}}
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{- define "dask-flow.containerDefaults" -}}
image: {{ include "dask-flow.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{/* The pod's spec `spec`, a YAML text with one container, with the values' `over` merged over it. */}}
{{- define "dask-flow.mergedPodSpec" -}}
{{- $spec := fromYaml .spec }}
{{- $over := deepCopy .over }}
{{- $main := first $spec.containers }}
{{- $others := list }}
{{- range $container := $over.containers }}
{{- if eq $container.name $main.name }}
{{- range $list, $key := dict "env" "name" "envFrom" "" "volumeMounts" "mountPath" }}
{{- include "dask-flow.addList" (dict "from" $main "to" $container "list" $list "key" $key) }}
{{- end }}
{{- $main = mergeOverwrite $main $container }}
{{- else }}
{{- $others = append $others $container }}
{{- end }}
{{- end }}
{{- $_ := set $over "containers" (prepend $others $main) }}
{{- range $list := list "volumes" "imagePullSecrets" }}
{{- include "dask-flow.addList" (dict "from" $spec "to" $over "list" $list "key" "name") }}
{{- end }}
{{- mergeOverwrite $spec $over | toYaml }}
{{- end }}

{{/* Put the list `list` of `from` before that of `to`. Renders nothing. */}}
{{- define "dask-flow.addList" -}}
{{- $items := concat (get .from .list | default list) (get .to .list | default list) }}
{{- if and $items .key }}
{{- $items = include "dask-flow.unique" (dict "items" $items "key" .key) | fromJsonArray }}
{{- end }}
{{- if $items }}
{{- $_ := set .to .list $items }}
{{- end }}
{{- end }}

{{/* A list of objects as JSON; of several with the same key, the last stays, in the place of the first. */}}
{{- define "dask-flow.unique" -}}
{{- $key := .key }}
{{- $last := dict }}
{{- $order := list }}
{{- range .items }}
{{- $order = append $order (get . $key) }}
{{- $_ := set $last (get . $key) . }}
{{- end }}
{{- $items := list }}
{{- range uniq $order }}
{{- $items = append $items (get $last .) }}
{{- end }}
{{- toJson $items }}
{{- end }}
