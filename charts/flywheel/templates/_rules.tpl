{{/*
Each rule says what the operator does with it. There is no wildcard. Secrets are read by name, and not at all with rbac.secrets=false.
tests/unit/chart holds this list against the kinds of the operator's children.
*/}}

{{/* Rules for wherever Campaigns are watched: in a ClusterRole, or in a Role of each namespace. */}}
{{- define "flywheel.watchRules" -}}
# The Campaign itself: observed; its finalizer set and removed. Its spec is never written. To read Campaigns and to write
# their status is also what the analytics worker may do: nobody can grant what he does not hold.
- apiGroups: [flywheel.dev]
  resources: [campaigns]
  verbs: [get, list, watch, patch]
- apiGroups: [flywheel.dev]
  resources: [campaigns/status, abtests/status, fraudrules/status]
  verbs: [patch]
# A/B tests are observed; what becomes of them is written to their status alone.
- apiGroups: [flywheel.dev]
  resources: [abtests]
  verbs: [get, list, watch]
# Fraud rules likewise: the fraud worker, which gets the right from here, judges by them.
- apiGroups: [flywheel.dev]
  resources: [fraudrules]
  verbs: [get, list, watch]
# Needed for blockOwnerDeletion on the children where OwnerReferencesPermissionEnforcement is on.
- apiGroups: [flywheel.dev]
  resources: [campaigns/finalizers]
  verbs: [update]
# The children, the report that outlives them, and the analytics worker that the Campaigns of a namespace share.
- apiGroups: [apps]
  resources: [deployments, statefulsets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services, serviceaccounts, configmaps]
  verbs: [get, list, watch, create, patch, delete]
# Gates that run as Jobs.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
{{- if .Values.rbac.secrets }}
# Copies of the Secrets that a revision mounts or imports, so that each slot keeps its own; credentials of content in Git and
# of gates; lists of fraud rules. Read by name only, never listed or watched; deleted by name only.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, patch, delete]
{{- end }}
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
# A Role for each edge and each analytics worker, with no more than the operator itself may do.
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, list, watch, create, patch, delete]
# Where the services' pods are: followed by the edge, which gets the right from here. Listed by the search below as well.
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch]
# The volume of the analytics worker: found, and made larger when the spec says so.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, patch]
{{- if .Values.rbac.routes }}
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, watch, create, patch, delete]
{{- end }}
{{- if .Values.rbac.monitoring }}
- apiGroups: [monitoring.coreos.com]
  resources: [podmonitors, prometheusrules]
  verbs: [get, list, watch, create, patch, delete]
{{- end }}
{{- if .Values.rbac.keda }}
- apiGroups: [keda.sh]
  resources: [scaledobjects]
  verbs: [get, list, watch, create, patch, delete]
{{- end }}
{{- if .Values.rbac.flink }}
# Rules on fraud that Flink judges by.
- apiGroups: [flink.apache.org]
  resources: [flinkdeployments]
  verbs: [get, list, watch, create, patch, delete]
{{- end }}
# Events on the Campaigns; listed by the search for leftovers as well.
- apiGroups: ["", events.k8s.io]
  resources: [events]
  verbs: [create, list]
# The search for leftovers by the Campaign's label before it is called Retired: every built-in kind but Secrets, ABTests and FraudRules.
# What may not be listed is named in the Campaign's report as not looked at.
- apiGroups: [""]
  resources: [pods, endpoints, podtemplates, replicationcontrollers, limitranges, resourcequotas]
  verbs: [list]
- apiGroups: [flywheel.dev]
  resources: [abtests, fraudrules]
  verbs: [list]
- apiGroups: [apps]
  resources: [replicasets, daemonsets, controllerrevisions]
  verbs: [list]
- apiGroups: [batch]
  resources: [cronjobs]
  verbs: [list]
- apiGroups: [networking.k8s.io]
  resources: [ingresses]
  verbs: [list]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [list]
- apiGroups: [resource.k8s.io]
  resources: [resourceclaims, resourceclaimtemplates]
  verbs: [list]
- apiGroups: [storage.k8s.io]
  resources: [csistoragecapacities]
  verbs: [list]
{{- range .Values.rbac.extraSweepRules }}
- apiGroups: {{ toYaml .apiGroups | nindent 2 }}
  resources: {{ toYaml .resources | nindent 2 }}
  verbs: [list]
{{- end }}
{{- end -}}

{{/* The same search among what belongs to no namespace. */}}
{{- define "flywheel.clusterSweepRules" -}}
- apiGroups: [""]
  resources: [namespaces, nodes, persistentvolumes]
  verbs: [list]
- apiGroups: [admissionregistration.k8s.io]
  resources: [mutatingadmissionpolicies, mutatingadmissionpolicybindings, mutatingwebhookconfigurations,
    validatingadmissionpolicies, validatingadmissionpolicybindings, validatingwebhookconfigurations]
  verbs: [list]
- apiGroups: [apiregistration.k8s.io]
  resources: [apiservices]
  verbs: [list]
- apiGroups: [certificates.k8s.io]
  resources: [certificatesigningrequests, clustertrustbundles]
  verbs: [list]
- apiGroups: [flowcontrol.apiserver.k8s.io]
  resources: [flowschemas, prioritylevelconfigurations]
  verbs: [list]
- apiGroups: [networking.k8s.io]
  resources: [ingressclasses, ipaddresses, servicecidrs]
  verbs: [list]
- apiGroups: [node.k8s.io]
  resources: [runtimeclasses]
  verbs: [list]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [clusterroles, clusterrolebindings]
  verbs: [list]
- apiGroups: [resource.k8s.io]
  resources: [deviceclasses, devicetaintrules, resourceslices]
  verbs: [list]
- apiGroups: [scheduling.k8s.io]
  resources: [priorityclasses]
  verbs: [list]
- apiGroups: [storage.k8s.io]
  resources: [csidrivers, csinodes, storageclasses, volumeattachments, volumeattributesclasses]
  verbs: [list]
{{- end -}}

{{/* Whether Campaigns are defined, and whether an optional API has been installed meanwhile. */}}
{{- define "flywheel.definitionRules" -}}
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  verbs: [get, list, watch]
{{- end -}}

{{/* The leader's lease, in the namespace of the release only. */}}
{{- define "flywheel.leaseRules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [get, create, update]
{{- end -}}

{{/* Tokens for the analytics workers, each for one of them: the gates of releases ask them. Of the operator itself only. */}}
{{- define "flywheel.tokenRules" -}}
- apiGroups: [""]
  resources: [serviceaccounts/token]
  resourceNames: [{{ include "flywheel.serviceAccountName" . }}]
  verbs: [create]
{{- end -}}

{{- define "flywheel.editRules" -}}
- apiGroups: [flywheel.dev]
  resources: [campaigns, abtests, fraudrules]
  verbs: [get, list, watch, create, update, patch, delete, deletecollection]
- apiGroups: [flywheel.dev]
  resources: [campaigns/status, abtests/status, fraudrules/status]
  verbs: [get]
{{- end -}}

{{- define "flywheel.viewRules" -}}
- apiGroups: [flywheel.dev]
  resources: [campaigns, campaigns/status, abtests, abtests/status, fraudrules, fraudrules/status]
  verbs: [get, list, watch]
{{- end -}}

{{/* The operator as the subject of a binding. */}}
{{- define "flywheel.subject" -}}
subjects:
- kind: ServiceAccount
  name: {{ include "flywheel.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}
