{{/* What every pod of the chart's has, whatever it runs: Pod Security "restricted". */}}
{{- define "dask-flow.podDefaults" -}}
{{- $secrets := concat .Values.global.imagePullSecrets .Values.imagePullSecrets }}
{{- if .Values.registry.server }}{{ $secrets = include "dask-flow.fullname" . | printf "%s-registry" | dict "name" | append $secrets }}{{ end -}}
enableServiceLinks: false
imagePullSecrets: {{ uniq $secrets | toJson }}
securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
{{- end }}

{{- define "dask-flow.containerDefaults" -}}
image: {{ include "dask-flow.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
# The pod's status then says how the log ended, where the container left no reason.
terminationMessagePolicy: FallbackToLogsOnError
{{- end }}

{{/* The pod's spec `spec`, a YAML text with one container, without what is empty, and with the values' `over` merged over it. */}}
{{- define "dask-flow.mergedPodSpec" -}}
{{- $spec := fromYaml .spec }}
{{- $over := deepCopy .over }}
{{- $main := first $spec.containers }}
{{- range $part := list $spec $main }}{{ range $key, $value := $part }}
{{- if and (has (kindOf $value) (list "map" "slice" "string")) (not $value) }}{{ $_ := unset $part $key }}{{ end }}
{{- end }}{{ end }}
{{- $others := list }}
{{- range $container := $over.containers }}
{{- if eq $container.name $main.name }}
{{- include "dask-flow.addLists" (dict "from" $main "to" $container "keys" (dict "env" "name" "envFrom" "" "volumeMounts" "mountPath")) }}
{{- $main = mergeOverwrite $main $container }}
{{- else }}
{{- $others = append $others $container }}
{{- end }}
{{- end }}
{{- $_ := set $over "containers" (prepend $others $main) }}
{{- include "dask-flow.addLists" (dict "from" $spec "to" $over "keys" (dict "volumes" "name" "imagePullSecrets" "name")) }}
{{- mergeOverwrite $spec $over | toYaml }}
{{- end }}

{{/* Put the lists of `from` before those of `to`; `keys` has what tells the items of each apart, if anything does. Renders nothing. */}}
{{- define "dask-flow.addLists" -}}
{{- range $list, $key := .keys }}
{{- $items := concat (get $.from $list | default list) (get $.to $list | default list) }}
{{- if $key }}{{ $items = include "dask-flow.unique" (dict "items" $items "key" $key) | fromJsonArray }}{{ end }}
{{- if $items }}{{ $_ := set $.to $list $items }}{{ end }}
{{- end }}
{{- end }}

{{/* A list of objects as JSON; of several with the same key, the last stays, in the place of the first. */}}
{{- define "dask-flow.unique" -}}
{{- $last := dict }}
{{- range .items }}{{ $_ := set $last (get . $.key) . }}{{ end }}
{{- $items := list }}
{{- range .items }}{{ $items = get . $.key | get $last | append $items }}{{ end }}
{{- uniq $items | toJson }}
{{- end }}
