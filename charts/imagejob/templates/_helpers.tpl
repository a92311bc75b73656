{{/* Names. With a release called imagejob they are the plain ones: imagejob-operator, imagejob-runner, imagejob-lease-user. */}}

{{- define "imagejob.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "imagejob.fullname" -}}
{{- $name := include "imagejob.name" . }}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) }}
{{- default $full .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "imagejob.operator" -}}
{{ include "imagejob.fullname" . }}-operator
{{- end }}

{{- define "imagejob.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "imagejob.operator" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name is needed where serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* Service account of runners' pods, and the ClusterRole that it is bound to in its own namespace. */}}
{{- define "imagejob.runner" -}}
{{ include "imagejob.fullname" . }}-runner
{{- end }}

{{- define "imagejob.leaseRole" -}}
{{ include "imagejob.fullname" . }}-lease-user
{{- end }}

{{- define "imagejob.leaseNamespace" -}}
{{- $namespace := default .Release.Namespace .Values.limits.namespace }}
{{- if and .Values.limits.manage (ne $namespace .Release.Namespace) }}
{{- fail "limits.namespace is for an operator that uses the Leases of another one: set limits.manage to false, too" }}
{{- end }}
{{- $namespace }}
{{- end }}

{{/* The user that the API server takes the operator for. */}}
{{- define "imagejob.operatorUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "imagejob.serviceAccount" . }}
{{- end }}

{{/* Labels. */}}

{{- define "imagejob.selectorLabels" -}}
app.kubernetes.io/name: {{ include "imagejob.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "imagejob.labels" -}}
app.kubernetes.io/name: {{ include "imagejob.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: imagejob
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* An image's full name. Takes the image's values and the version of the application. */}}
{{- define "imagejob.image" -}}
{{- $image := .image }}
{{- with $image.registry }}{{ . }}/{{ end }}{{ $image.repository }}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ default .version $image.tag }}{{ end }}
{{- end }}

{{/* The default NodeLimit, as JSON: its name and its spec. */}}
{{- define "imagejob.defaultLimit" -}}
{{- $limit := .Values.nodeLimit }}
{{- $spec := pick $limit "nodeSelector" "overrides" "leaseDurationSeconds" "active" }}
{{- if not (kindIs "invalid" $limit.slots) }}
{{- $_ := set $spec "slots" $limit.slots }}
{{- else if kindIs "invalid" $limit.slotsPerDevice }}
{{- fail "nodeLimit needs slots or slotsPerDevice" }}
{{- else }}
{{- $_ := set $spec "slotsPerDevice" $limit.slotsPerDevice }}
{{- end }}
{{- range list "maxHold" "maxPriority" }}
{{- if not (kindIs "invalid" (index $limit .)) }}
{{- $_ := set $spec . (index $limit .) }}
{{- end }}
{{- end }}
{{- dict "name" $limit.name "spec" $spec | toJson }}
{{- end }}
