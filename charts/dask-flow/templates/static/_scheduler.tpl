{{- define "dask-flow.static.schedulerPodSpec" -}}
automountServiceAccountToken: false
{{ include "dask-flow.podDefaults" . }}
# It has nothing to hand over: its cluster ends with it.
terminationGracePeriodSeconds: 10
containers:
  - name: scheduler
    {{- $env := include "dask-flow.static.schedulerEnv" . }}
    {{- include "dask-flow.static.container" (dict "root" . "env" $env "ready" "/health") | nindent 4 }}
    {{- $args := list "dask" "scheduler" "--port" "8786" "--dashboard-address" ":8787" }}
    {{- if include "dask-flow.static.tlsSecret" . }}{{ $args = concat $args (list "--protocol" "tls") }}{{ end }}
    args: {{ concat $args (list "--preload" "dask_flow.clusters.preload") .Values.static.scheduler.args | toJson }}
    resources: {{ toJson .Values.static.scheduler.resources }}
    ports: [{name: tcp-comm, containerPort: 8786}, {name: http-dashboard, containerPort: 8787}]
volumes:
  {{- include "dask-flow.static.volumes" . | nindent 2 }}
{{- end }}

{{- define "dask-flow.static.schedulerEnv" -}}
# All of Dask's routes but distributed.http.proxy, by which the dashboard could be made to reach any address.
- name: DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES
  value: >-
    ['distributed.http.scheduler.prometheus', 'distributed.http.scheduler.info', 'distributed.http.scheduler.json',
    'distributed.http.health', 'distributed.http.statics']
- name: DASK_DISTRIBUTED__SCHEDULER__DASHBOARD__BOKEH_APPLICATION__ALLOW_WEBSOCKET_ORIGIN
  value: {{ include "dask-flow.static.websocketOrigins" . | quote }}
{{- end }}
