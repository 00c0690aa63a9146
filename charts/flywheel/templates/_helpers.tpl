{{- define "flywheel.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* 50 characters leave room for the suffixes of the hook and of the test. */}}
{{- define "flywheel.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "flywheel.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "flywheel.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Two releases of one name in different namespaces must not share a cluster-scoped object. */}}
{{- define "flywheel.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "flywheel.fullname" .) -}}
{{- end -}}

{{/* Only what never changes over upgrades, because a Deployment's selector cannot. */}}
{{- define "flywheel.instanceLabels" -}}
app.kubernetes.io/name: {{ include "flywheel.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "flywheel.selectorLabels" -}}
{{ include "flywheel.instanceLabels" . }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "flywheel.commonLabels" -}}
{{- with .Values.commonLabels }}
{{- toYaml . }}
{{ end -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "flywheel.instanceLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: flywheel
{{- end -}}

{{- define "flywheel.labels" -}}
{{ include "flywheel.commonLabels" . }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "flywheel.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "flywheel.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name: name the existing ServiceAccount, as serviceAccount.create is false." .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The reference of one image: (list context {repository, tag, digest}). */}}
{{- define "flywheel.reference" -}}
{{- $image := index . 1 -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default (index . 0).Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{/* What the operator watches, as flags of every command of the image. */}}
{{- define "flywheel.scopeArgs" -}}
{{- range .Values.watch.namespaces }}
- --namespace={{ . }}
{{- else }}
- --all-namespaces
{{- end }}
{{- end -}}

{{/* What the operator is told of Kafka and Flink. */}}
{{- define "flywheel.fraudArgs" -}}
{{- with .Values.fraud.kafka }}
{{- if .servers }}
- --fraud-kafka={{ .servers }}
- --fraud-kafka-topic-prefix={{ .topicPrefix }}
- --fraud-kafka-security={{ .security }}
- --fraud-kafka-mechanism={{ .mechanism }}
{{- with .secretName }}
- --fraud-kafka-secret={{ . }}
{{- end }}
{{- if .clientCertificate }}
- --fraud-kafka-certificate
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.fraud.flink }}
{{- with .image }}
- --fraud-flink-image={{ . }}
{{- end }}
{{- with .directory }}
- --fraud-flink-directory={{ . }}
{{- end }}
- --fraud-flink-parallelism={{ .parallelism }}
- --fraud-flink-service-account={{ .serviceAccount }}
- --fraud-flink-memory={{ .memory }}
- --fraud-flink-disorder={{ .disorder }}
{{- end }}
{{- end -}}

{{/* The parts of a pod that the operator, the uninstall check and the test share. */}}
{{- define "flywheel.podBasics" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
- name: tmp
  emptyDir:
    sizeLimit: 64Mi
{{- end -}}

{{- define "flywheel.containerBasics" -}}
image: {{ include "flywheel.reference" (list . .Values.image) }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
volumeMounts:
- name: tmp
  mountPath: /tmp
{{- end -}}

{{/* Labels of one alert: (list context severity). */}}
{{- define "flywheel.alertLabels" -}}
severity: {{ index . 1 }}
{{- with (index . 0).Values.metrics.prometheusRule.alertLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}
