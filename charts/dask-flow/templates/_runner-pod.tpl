{{/* The runner's pod. */}}
{{- define "dask-flow.runnerPodSpec" -}}
restartPolicy: Never
serviceAccountName: {{ include "dask-flow.serviceAccountName" . }}
automountServiceAccountToken: {{ include "dask-flow.makesCluster" . | default "false" }}
{{ include "dask-flow.podDefaults" . }}
containers:
  - name: runner
    {{- include "dask-flow.containerDefaults" . | nindent 4 }}
    args:
      - run
      {{- with include "dask-flow.target" . }}
      - {{ . }}
      {{- end }}
    env:
      {{- include "dask-flow.runnerEnv" . | nindent 6 }}
    {{- with .Values.flow.envFrom }}
    envFrom:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with .Values.runner.resources }}
    resources:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    volumeMounts:
      - name: tmp
        mountPath: /tmp
      {{- if include "dask-flow.runnerFiles" . }}
      - name: files
        mountPath: /etc/dask-flow
        readOnly: true
      {{- end }}
volumes:
  - name: tmp
    emptyDir: {}
  {{- with include "dask-flow.runnerFiles" . }}
  - name: files
    projected:
      sources:
        {{- . | nindent 8 }}
  {{- end }}
{{- end }}

{{/* What is in the runner's /etc/dask-flow: sources of a projected volume. Nothing can be mounted inside one that is read-only. */}}
{{- define "dask-flow.runnerFiles" -}}
{{- if .Values.flow.files }}
- configMap:
    name: {{ include "dask-flow.fullname" . }}-flow
    items:
      {{- range $name, $_ := .Values.flow.files }}
      - key: {{ $name }}
        path: flow/{{ $name }}
      {{- end }}
{{- end }}
{{- if or .Values.cluster.workerSpec .Values.cluster.schedulerSpec }}
- configMap:
    name: {{ include "dask-flow.fullname" . }}-specs
{{- end }}
{{- with include "dask-flow.runnerTlsSecret" . }}
- secret:
    name: {{ . }}
    items:
      {{- range list "ca.crt" "tls.crt" "tls.key" }}
      - key: {{ . }}
        path: tls/{{ . }}
      {{- end }}
{{- end }}
{{- end }}
