{{/* The Workflow's own service account, by which Argo's executor makes the Job; the runner's where the chart makes none. */}}
{{- define "dask-flow.workflow.serviceAccountName" -}}
{{- .Values.serviceAccount.create | ternary (include "dask-flow.fullname" . | printf "%s-workflow") (include "dask-flow.serviceAccountName" .) }}
{{- end }}

{{/* The flow's parameters as the Workflow's, a list as JSON; values are texts, which the runner reads as YAML. */}}
{{- define "dask-flow.workflow.parameters" -}}
{{- $parameters := list }}
{{- range $name, $value := .Values.flow.params }}{{ $parameters = dict "name" $name "value" (toJson $value) | append $parameters }}{{ end }}
{{- toJson $parameters }}
{{- end }}

{{/* The Job that a Workflow makes, named like it. Argo puts a parameter, as a JSON string that no value can break out of, for PARAMETER(its name). */}}
{{- define "dask-flow.workflow.job" -}}
apiVersion: batch/v1
kind: Job
metadata:
  {{- $labels := include "dask-flow.queueLabels" . | fromYaml }}
  {{- include "dask-flow.metadata" (dict "root" . "name" "{{workflow.name}}" "labels" $labels) | nindent 2 }}
spec:
  {{- $spec := include "dask-flow.jobSpec" . | trim | nindent 2 }}
  {{- regexReplaceAll "(?m)- PARAMETER\\((.*)\\)$" $spec "- {{=toJson('${1}=' + sprig.replace('$$', '$$$$', inputs.parameters['${1}']))}}" }}
{{- end }}
