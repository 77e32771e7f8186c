{{/* What the runner may do. For a cluster of pods it makes those itself; where the Dask operator makes them, it asks for them and looks on. */}}
{{- define "dask-flow.rules" -}}
{{- if include "dask-flow.makesCluster" . }}{{ include "dask-flow.clusterRules" . }}{{ end }}
{{- if .Values.run.notify.secretName }}
# Whether another attempt follows is in the Job.
- {apiGroups: [batch], resources: [jobs], verbs: [get]}
{{- end }}
{{- end }}

{{- define "dask-flow.clusterRules" -}}
{{- if eq .Values.cluster.mode "operator" }}
- {apiGroups: [kubernetes.dask.org], resources: [daskclusters], verbs: [get, list, create, deletecollection]}
- {apiGroups: [kubernetes.dask.org], resources: [daskautoscalers], verbs: [create, deletecollection]}
- {apiGroups: [kubernetes.dask.org], resources: [daskworkergroups], verbs: [list]}
- {apiGroups: [""], resources: [pods], verbs: [get, list, watch]}
- {apiGroups: [""], resources: [services], verbs: [get, list]}
{{- else }}
- {apiGroups: [""], resources: [pods], verbs: [get, list, watch, create, delete, deletecollection]}
{{- if ne (toString .Values.cluster.tls) "false" }}
- {apiGroups: [""], resources: [secrets], verbs: [create, deletecollection]}
{{- end }}
{{- if or .Values.cluster.schedulerSpec (eq .Values.cluster.scheduler "pod") }}
- {apiGroups: [""], resources: [services], verbs: [create, deletecollection]}
{{- end }}
{{- end }}
- {apiGroups: [""], resources: [events], verbs: [watch]}
{{- if include "dask-flow.report" . }}
# The report has the workers' logs.
- {apiGroups: [""], resources: [pods/log], verbs: [get]}
{{- end }}
{{- end }}

{{/* What Argo's executor may do: make the Job and see how it ends, and say so. */}}
{{- define "dask-flow.workflow.rules" -}}
- {apiGroups: [batch], resources: [jobs], verbs: [create, get]}
- {apiGroups: [argoproj.io], resources: [workflowtaskresults], verbs: [create, patch]}
{{- end }}
