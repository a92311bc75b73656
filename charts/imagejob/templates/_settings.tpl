{{/* The operator's settings as environment variables; operator/imagejob_operator/settings.py says what each means. */}}
{{- define "imagejob.settings" -}}
- name: IMAGEJOB_OPERATOR_NAMESPACE
  value: {{ include "imagejob.leaseNamespace" . }}
{{- with .Values.watchNamespaces }}
- name: IMAGEJOB_OPERATOR_WATCH_NAMESPACES
  value: {{ join "," . | quote }}
{{- end }}
- name: IMAGEJOB_OPERATOR_MANAGE_LIMITS
  value: {{ .Values.limits.manage | quote }}
{{- if and .Values.limits.manage .Values.nodeLimit.enabled }}
- name: IMAGEJOB_OPERATOR_DEFAULT_LIMIT
  value: {{ include "imagejob.defaultLimit" . | quote }}
{{- end }}
- name: IMAGEJOB_OPERATOR_RUNNER_IMAGE
  value: {{ include "imagejob.image" (dict "image" .Values.runner.image "version" .Chart.AppVersion) | quote }}
{{- with .Values.runner.image.pullPolicy }}
- name: IMAGEJOB_OPERATOR_RUNNER_IMAGE_PULL_POLICY
  value: {{ . | quote }}
{{- end }}
{{- with .Values.runner.allowedModules }}
- name: IMAGEJOB_OPERATOR_ALLOWED_MODULES
  value: {{ join "," . | quote }}
{{- end }}
- name: IMAGEJOB_OPERATOR_RUNNER_SERVICE_ACCOUNT
  value: {{ include "imagejob.runner" . }}
- name: IMAGEJOB_OPERATOR_RUNNER_ROLE
  value: {{ include "imagejob.runner" . }}
- name: IMAGEJOB_OPERATOR_LEASE_ROLE
  value: {{ include "imagejob.leaseRole" . }}
{{- with .Values.operator }}
{{- if ge (float64 .heartbeatSeconds) (float64 .unhealthySeconds) }}
{{- fail "operator.heartbeatSeconds must be less than operator.unhealthySeconds: lower the first or raise the second" }}
{{- end }}
- name: IMAGEJOB_OPERATOR_WORKERS
  value: {{ .workers | quote }}
- name: IMAGEJOB_OPERATOR_STATUS_SECONDS
  value: {{ .statusSeconds | quote }}
- name: IMAGEJOB_OPERATOR_FINISHED_PODS_SECONDS
  value: {{ .finishedPodsSeconds | quote }}
- name: IMAGEJOB_OPERATOR_HEARTBEAT_SECONDS
  value: {{ .heartbeatSeconds | quote }}
- name: IMAGEJOB_OPERATOR_UNHEALTHY_SECONDS
  value: {{ .unhealthySeconds | quote }}
- name: IMAGEJOB_OPERATOR_LOG_LEVEL
  value: {{ .logLevel | quote }}
- name: IMAGEJOB_OPERATOR_LOG_FORMAT
  value: {{ .logFormat | quote }}
{{- end }}
- name: IMAGEJOB_OPERATOR_PORT
  value: "8080"
{{- end }}
