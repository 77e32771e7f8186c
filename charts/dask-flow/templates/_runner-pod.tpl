{{/* The runner's pod. */}}
{{- define "dask-flow.runnerPodSpec" -}}
restartPolicy: Never
serviceAccountName: {{ include "dask-flow.serviceAccountName" . | quote }}
automountServiceAccountToken: {{ include "dask-flow.asksKubernetes" . | default "false" }}
priorityClassName: {{ .Values.run.priorityClassName | quote }}
{{ include "dask-flow.podDefaults" . }}
containers:
  - name: runner
    {{- include "dask-flow.containerDefaults" . | nindent 4 }}
    args:
      - run
      {{- with include "dask-flow.target" . }}{{ replace "$" "$$" . | toJson | printf "- %s" | nindent 6 }}{{ end }}
      {{- range $name, $_ := eq .Values.run.mode "workflow" | ternary .Values.flow.params dict }}
      - --param
      - PARAMETER({{ $name }})
      {{- end }}
    env: {{ include "dask-flow.runnerEnv" . | fromYamlArray | dict "key" "name" "items" | include "dask-flow.unique" }}
    envFrom: {{ toJson .Values.flow.envFrom }}
    resources: {{ toJson .Values.runner.resources }}
    volumeMounts:
      - {name: tmp, mountPath: /tmp}
      {{- if include "dask-flow.runnerFiles" . }}
      - {name: files, mountPath: /etc/dask-flow, readOnly: true}
      {{- end }}
      {{- if include "dask-flow.reportClaim" . }}
      - {name: report, mountPath: {{ include "dask-flow.report" . }}}
      {{- end }}
volumes:
  - {name: tmp, emptyDir: {}}
  {{- with include "dask-flow.runnerFiles" . | fromYamlArray }}
  - {name: files, projected: {sources: {{ toJson . }}}}
  {{- end }}
  {{- with include "dask-flow.reportClaim" . }}
  - {name: report, persistentVolumeClaim: {claimName: {{ quote . }}}}
  {{- end }}
{{- end }}

{{/* What is in the runner's /etc/dask-flow: sources of a projected volume. Nothing can be mounted inside one that is read-only. */}}
{{- define "dask-flow.runnerFiles" -}}
{{- if .Values.flow.files }}
{{- $items := list }}
{{- range $name, $_ := .Values.flow.files }}{{ $items = dict "key" $name "path" (printf "flow/%s" $name) | append $items }}{{ end }}
- configMap: {name: {{ include "dask-flow.fullname" . }}-flow, items: {{ toJson $items }}}
{{- end }}
{{- if or .Values.cluster.workerSpec .Values.cluster.schedulerSpec }}
- configMap: {name: {{ include "dask-flow.fullname" . }}-specs}
{{- end }}
{{- with include "dask-flow.runnerTlsSecret" . }}
- secret: {name: {{ quote . }}, items: [{key: ca.crt, path: tls/ca.crt}, {key: tls.crt, path: tls/tls.crt}, {key: tls.key, path: tls/tls.key}]}
{{- end }}
{{- end }}
