{{/* The pod of a group's workers, given `root` and `group`. */}}
{{- define "dask-flow.static.workerPodSpec" -}}
{{- $labels := include "dask-flow.static.workerLabels" . | fromYaml | toJson -}}
automountServiceAccountToken: false
{{ include "dask-flow.podDefaults" .root }}
# A worker that is told to end first hands its results to the others, which this is the limit for. It answers until that is
# done, and nobody reaches it by a Service, so that a preStop hook has nothing to wait for.
terminationGracePeriodSeconds: {{ int .group.terminationGracePeriodSeconds }}
topologySpreadConstraints:
  - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway,
    labelSelector: {matchLabels: {{ $labels }}}, matchLabelKeys: [pod-template-hash]}
containers:
  - name: worker
    {{- $env := "- {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}" }}
    {{- $env = print $env "\n- {name: DASK_FLOW_MEMORY_REQUEST, valueFrom: {resourceFieldRef: {resource: requests.memory}}}" }}
    # Ready is a worker that has joined: a rolling update goes on with the next one then.
    {{- include "dask-flow.static.container" (dict "root" .root "env" $env "ready" "/ready") | nindent 4 }}
    args: {{ include "dask-flow.static.workerArgs" . }}
    resources: {{ toJson .group.resources }}
    ports: [{name: http-dashboard, containerPort: 8790}]
volumes:
  {{- include "dask-flow.static.volumes" .root | nindent 2 }}
{{- end }}

{{/* The arguments of a group's workers, as JSON. */}}
{{- define "dask-flow.static.workerArgs" -}}
{{- with .group }}
{{- $args := list "dask" "worker" (include "dask-flow.static.address" $.root) "--name" "$(POD_NAME)" "--nthreads" (toString .nthreads) }}
{{- /* Where there is one in the pod, the kubelet restarts a worker that dies, as a nanny would. */}}
{{- $nanny := list "--nworkers" (toString .nworkers) "--preload-nanny" "dask_flow.clusters.preload" }}
{{- $args = gt (int .nworkers) 1 | ternary $nanny (list "--no-nanny") | concat $args }}
{{- /* Dask's own auto is a share by threads of the host's cores, of a limit too. Without a limit the preload says how much. */}}
{{- $memory := .memoryLimit }}
{{- if and (eq $memory "auto") (dig "limits" "memory" "" .resources) }}{{ $memory = divf 1 .nworkers | toString }}{{ end }}
{{- $resources := list }}
{{- range $name, $amount := .daskResources }}{{ $resources = printf "%s=%v" $name $amount | append $resources }}{{ end }}
{{- if $resources }}{{ $args = concat $args (list "--resources" (join " " $resources)) }}{{ end }}
{{- $args = concat $args (list "--memory-limit" $memory "--no-dashboard" "--dashboard-address" ":8790" "--death-timeout" "60") }}
{{- concat $args (list "--preload" "dask_flow.clusters.preload") .args | toJson }}
{{- end }}
{{- end }}
