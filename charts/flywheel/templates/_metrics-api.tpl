{{/* The suffix leaves a Service's name within 63 characters. */}}
{{- define "flywheel.metricsApi.name" -}}
{{- printf "%s-metrics-api" (include "flywheel.fullname" .) -}}
{{- end -}}

{{- define "flywheel.metricsApi.selectorLabels" -}}
{{ include "flywheel.instanceLabels" . }}
app.kubernetes.io/component: metrics-api
{{- end -}}

{{- define "flywheel.metricsApi.labels" -}}
{{ include "flywheel.commonLabels" . }}
app.kubernetes.io/component: metrics-api
{{- end -}}

{{- define "flywheel.metricsApi.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- include "flywheel.metricsApi.name" . -}}
{{- else -}}
{{- include "flywheel.serviceAccountName" . -}}
{{- end -}}
{{- end -}}

{{- define "flywheel.metricsApi.subject" -}}
subjects:
- kind: ServiceAccount
  name: {{ include "flywheel.metricsApi.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{- define "flywheel.metricsApi.podRules" -}}
# Where the edges' counters are read.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
{{- end -}}

{{- define "flywheel.metricsApi.check" -}}
{{- with .Values.externalMetrics -}}
{{- if and .enabled (ne .adapter "None") -}}
{{- fail (printf "externalMetrics.adapter: only one program can serve external metrics; set externalMetrics.enabled to false where %s does." .adapter) -}}
{{- end -}}
{{- if and (eq .adapter "KEDA") (not .prometheus) -}}
{{- fail "externalMetrics.prometheus: name the Prometheus that KEDA asks for events and requests, such as http://prometheus.monitoring:9090." -}}
{{- end -}}
{{- end -}}
{{- end -}}
