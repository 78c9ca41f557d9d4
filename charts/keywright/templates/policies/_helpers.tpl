{{/* keywright.policyMetadata: dict with root, name and description. */}}
{{- define "keywright.policyMetadata" -}}
name: {{ .name }}
labels:
  {{- include "keywright.labels" .root | nindent 2 }}
annotations:
  kubernetes.io/description: {{ .description }}
  {{- /* What it guards outlives the release, and so does the guard. */}}
  helm.sh/resource-policy: keep
{{- end }}

{{/* keywright.policyBinding: dict with root, name and description. */}}
{{- define "keywright.policyBinding" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  {{- include "keywright.policyMetadata" . | nindent 2 }}
spec:
  policyName: {{ .name }}
  validationActions: [Deny]
{{- end }}

{{/* The last sentence of a refusal, for a CEL string in single quotes. */}}
{{- define "keywright.policyOverride" -}}
If you really mean it, first run: kubectl delete validatingadmissionpolicybinding {{ . }}
{{- end }}
