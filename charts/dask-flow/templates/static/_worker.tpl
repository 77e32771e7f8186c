{{/* The pod of a group's workers, given `root` and `group`. */}}
{{- define "dask-flow.static.workerPodSpec" -}}
automountServiceAccountToken: false
{{ include "dask-flow.podDefaults" .root }}
# A worker that is told to end first hands its results to the others, which this is the limit for. It answers until that is
# done, and nobody reaches it by a Service, so that a preStop hook has nothing to wait for.
terminationGracePeriodSeconds: {{ int .group.terminationGracePeriodSeconds }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "dask-flow.static.workerLabels" . | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
containers:
  - name: worker
    {{- include "dask-flow.static.container" (dict "root" .root "env" (include "dask-flow.static.workerEnv" .)) | nindent 4 }}
    args:
      {{- include "dask-flow.static.workerArgs" . | nindent 6 }}
    {{- with .group.resources }}
    resources:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    ports:
      - name: http-dashboard
        containerPort: 8790
    # Ready is a worker that has joined: a rolling update goes on with the next one then.
    readinessProbe:
      httpGet:
        path: /ready
        port: http-dashboard
      periodSeconds: 2
      timeoutSeconds: 2
    # As long as Dask itself waits for a silent worker (distributed.scheduler.worker-ttl): a task may hold Python's lock.
    livenessProbe:
      httpGet:
        path: /health
        port: http-dashboard
      periodSeconds: 30
      timeoutSeconds: 15
      failureThreshold: 10
volumes:
  {{- include "dask-flow.static.volumes" .root | nindent 2 }}
{{- end }}

{{- define "dask-flow.static.workerEnv" -}}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- end }}

{{- define "dask-flow.static.workerArgs" -}}
{{- with .group -}}
- dask
- worker
- {{ include "dask-flow.static.address" $.root }}
- --name
- $(POD_NAME)
- --nthreads
- {{ .nthreads | quote }}
{{- if gt (int .nworkers) 1 }}
- --nworkers
- {{ .nworkers | quote }}
- --preload-nanny
- dask_flow.clusters.preload
{{- else }}
# The kubelet restarts a worker that dies, as a nanny would.
- --no-nanny
{{- end }}
- --memory-limit
# Dask's own auto is a share by threads of the host's cores; this is an equal share of the pod's limit.
- {{ eq .memoryLimit "auto" | ternary (divf 1 .nworkers | toString) .memoryLimit | quote }}
{{- with .daskResources }}
{{- $resources := list }}
{{- range $name, $amount := . }}
{{- $resources = append $resources (printf "%s=%v" $name $amount) }}
{{- end }}
- --resources
- {{ join " " $resources | quote }}
{{- end }}
- --no-dashboard
- --dashboard-address
- ":8790"
- --death-timeout
- "60"
- --preload
- dask_flow.clusters.preload
{{- range .args }}
- {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}
