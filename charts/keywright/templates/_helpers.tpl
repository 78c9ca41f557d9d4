{{/* Labels that select the pods of a component: keywright.selector "server". They
can never change, because a Deployment's selector is immutable. */}}
{{- define "keywright.selector" -}}
app.kubernetes.io/name: keywright
app.kubernetes.io/component: {{ . }}
{{- end }}

{{/* Labels of every object. app.kubernetes.io/part-of finds what an uninstall keeps. */}}
{{- define "keywright.labels" -}}
app.kubernetes.io/name: keywright
app.kubernetes.io/part-of: keywright
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "keywright.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "keywright.controllerUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:keywright-controller
{{- end }}

{{/* Names for the certificate that the controller does not think of itself: it knows
cluster.local. */}}
{{- define "keywright.servingNames" -}}
{{- $names := list }}
{{- if ne .Values.certificates.clusterDomain "cluster.local" }}
{{- $names = append $names (printf "keywright.%s.svc.%s" .Release.Namespace .Values.certificates.clusterDomain) }}
{{- end }}
{{- concat $names .Values.certificates.extraNames | join "," }}
{{- end }}

{{/* How many servers there are at least. */}}
{{- define "keywright.serverMinimum" -}}
{{- if .Values.server.autoscaling.enabled -}}
{{ .Values.server.autoscaling.minReplicas }}
{{- else -}}
{{ .Values.server.replicas }}
{{- end -}}
{{- end }}

{{/* What the schema cannot say, or not in a sentence. */}}
{{- define "keywright.validate" -}}
{{- range $path, $labels := dict "commonLabels" .Values.commonLabels "controller.podLabels" .Values.controller.podLabels "server.podLabels" .Values.server.podLabels "metrics.serviceMonitor.labels" .Values.metrics.serviceMonitor.labels }}
{{- range $label, $_ := $labels }}
{{- if regexMatch "^(app\\.kubernetes\\.io|helm\\.sh)/" $label }}
{{- fail (printf "%s: the chart sets %s itself, and selects by it; choose another label" $path $label) }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.server }}
{{- if lt (int .terminationGracePeriodSeconds) (add (int .shutdownDelaySeconds) 30 | int) }}
{{- fail (printf "server.terminationGracePeriodSeconds is %d: requests in flight need 30 seconds after server.shutdownDelaySeconds (%d), so set at least %d" (int .terminationGracePeriodSeconds) (int .shutdownDelaySeconds) (add (int .shutdownDelaySeconds) 30 | int)) }}
{{- end }}
{{- if and .autoscaling.enabled (gt (int .autoscaling.minReplicas) (int .autoscaling.maxReplicas)) }}
{{- fail "server.autoscaling.minReplicas is above maxReplicas" }}
{{- end }}
{{- if and .autoscaling.enabled (not (dig "requests" "cpu" "" .resources)) }}
{{- fail "server.autoscaling counts in percent of server.resources.requests.cpu: set it, or set server.autoscaling.enabled=false" }}
{{- end }}
{{- end }}
{{- end }}

{{/* Pod security at level restricted. The group owns the mounted certificate. */}}
{{- define "keywright.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "keywright.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "keywright.commonArgs" -}}
- --log-level={{ .Values.log.level }}
- --log-format={{ .Values.log.format }}
- --metrics-bind-address={{ ternary ":8080" "0" .Values.metrics.enabled }}
- --health-probe-bind-address=:8081
{{- end }}

{{/* keywright.env: dict with the container's name, its resources and extra variables.
GOMEMLIMIT makes the garbage collector work harder near the limit, where the
kernel would otherwise kill. Without a limit it would be the memory of the node. */}}
{{- define "keywright.env" -}}
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- if dig "limits" "memory" "" .resources }}
- name: GOMEMLIMIT
  valueFrom:
    resourceFieldRef:
      containerName: {{ .container }}
      resource: limits.memory
{{- end }}
{{- with .extra }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "keywright.probes" -}}
livenessProbe:
  httpGet:
    path: /livez
    port: probes
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet:
    path: /readyz
    port: probes
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 2
{{- end }}

{{/* keywright.scheduling: dict with component and its values. */}}
{{- define "keywright.scheduling" -}}
{{- $selector := dict "matchLabels" (include "keywright.selector" .component | fromYaml) -}}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- $constraints := list }}
{{- range .values.topologySpreadConstraints | default (list
      (dict "topologyKey" "kubernetes.io/hostname" "maxSkew" 1 "whenUnsatisfiable" "ScheduleAnyway")
      (dict "topologyKey" "topology.kubernetes.io/zone" "maxSkew" 1 "whenUnsatisfiable" "ScheduleAnyway")) }}
{{- $constraints = append $constraints (merge (dict) . (dict "labelSelector" $selector)) }}
{{- end }}
topologySpreadConstraints:
  {{- toYaml $constraints | nindent 2 }}
{{- end }}
