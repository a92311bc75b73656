{{/* What the operator may do, and no more: no Secrets, no wildcard, no escalate, no impersonate. */}}

{{/* In every namespace whose ImageJobs it runs. */}}
{{- define "imagejob.rules.jobs" -}}
- apiGroups: [imagejob.dev]
  resources: [imagejobs]
  verbs: [get, list, watch, delete] # delete: ttlSecondsAfterFinished
- apiGroups: [imagejob.dev]
  resources: [imagejobs/status]
  verbs: [patch]
- apiGroups: [imagejob.dev]
  resources: [imagepipelines]
  verbs: [get, list, watch]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, delete] # never create: Jobs do. delete: what stays Terminating on a node that is gone
- apiGroups: [""]
  resources: [pods/status]
  verbs: [patch] # of such a pod: its Job keeps it until somebody says that it has ended
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, watch, create, patch] # watch, here and below: what somebody deletes is made again
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get, watch, create]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [rolebindings]
  verbs: [get, watch, create]
# To bind pods to this one role, whose rights the operator itself has not.
- apiGroups: [rbac.authorization.k8s.io]
  resources: [clusterroles]
  resourceNames: [{{ include "imagejob.runner" . }}]
  verbs: [bind]
- apiGroups: [""]
  resources: [events]
  verbs: [list, create, patch] # patch: one that is there already. list: why a Job could not make its pods
- apiGroups: [resource.k8s.io]
  resources: [resourceclaims]
  verbs: [get] # of one that a job names and that is not there nobody else speaks
{{- end }}

{{/* In the namespace of the Leases. Pods are bound to the Role for Leases there; what it allows the operator may do itself. */}}
{{- define "imagejob.rules.leases" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: {{ .Values.limits.manage | ternary "[get, list, watch, create, update, delete]" "[get, watch, update]" }}
- apiGroups: [rbac.authorization.k8s.io]
  resources: [rolebindings]
  verbs: [get, list, watch, create, delete] # list, delete: of namespaces that are gone
{{- end }}

{{/* Of the cluster: Nodes and NodeLimits are in no namespace. Not needed where another operator manages the limits. */}}
{{- define "imagejob.rules.limits" -}}
- apiGroups: [""]
  resources: [nodes]
  verbs: [list, watch]
- apiGroups: [imagejob.dev]
  resources: [nodelimits]
  verbs: [get, list, watch]
- apiGroups: [imagejob.dev]
  resources: [nodelimits/status]
  verbs: [patch]
{{- if .Values.nodeLimit.enabled }}
- apiGroups: [imagejob.dev]
  resources: [nodelimits]
  verbs: [create] # a request to create has no name yet that a rule could compare
- apiGroups: [imagejob.dev]
  resources: [nodelimits]
  resourceNames: [{{ .Values.nodeLimit.name }}]
  verbs: [patch]
{{- end }}
{{- end }}

{{- define "imagejob.operatorSubject" -}}
- kind: ServiceAccount
  name: {{ include "imagejob.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}
