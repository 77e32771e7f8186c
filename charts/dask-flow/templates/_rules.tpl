{{/* What the runner may do for a cluster of pods that it makes itself. */}}
{{- define "dask-flow.podsRules" -}}
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, delete, deletecollection]
- apiGroups: [""]
  resources: [events]
  verbs: [watch]
{{- if ne (toString .Values.cluster.tls) "false" }}
- apiGroups: [""]
  resources: [secrets]
  verbs: [create, deletecollection]
{{- end }}
{{- if or .Values.cluster.schedulerSpec (eq .Values.cluster.scheduler "pod") }}
- apiGroups: [""]
  resources: [services]
  verbs: [create, deletecollection]
{{- end }}
{{- end }}

{{/* What the runner may do where the Dask operator makes pods and Services: ask for them, and look on. */}}
{{- define "dask-flow.operatorRules" -}}
- apiGroups: [kubernetes.dask.org]
  resources: [daskclusters]
  verbs: [get, list, create, deletecollection]
- apiGroups: [kubernetes.dask.org]
  resources: [daskautoscalers]
  verbs: [create, deletecollection]
- apiGroups: [kubernetes.dask.org]
  resources: [daskworkergroups]
  verbs: [list]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list]
- apiGroups: [""]
  resources: [events]
  verbs: [watch]
{{- end }}
