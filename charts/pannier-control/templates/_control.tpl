{{- define "control.selector" -}}
app.kubernetes.io/name: {{ .Values.name | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "control.labels" -}}
{{ include "control.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* control.validate fails with one sentence for each thing that is wrong, all at once. */}}
{{- define "control.validate" -}}
{{- $wrong := list }}
{{- $identity := .Values.identity }}
{{- $chosen := list }}
{{- range list "tlsSecret" "keyringSecret" "spiffe" "insecure" }}
{{- if get $identity . }}{{ $chosen = append $chosen (printf "identity.%s" .) }}{{ end }}
{{- end }}
{{- if not $chosen }}
{{- $wrong = append $wrong "identity: nothing says how the control plane and sidecars know one another; set one of identity.tlsSecret, identity.keyringSecret, identity.spiffe, identity.insecure" }}
{{- else if gt (len $chosen) 1 }}
{{- $wrong = append $wrong (printf "%s: set together with %s; take all but one out" (first $chosen) (join ", " (rest $chosen))) }}
{{- end }}
{{- if and $identity.insecure .Values.tokenReview.enabled }}
{{- $wrong = append $wrong "tokenReview.enabled: with identity.insecure whoever listens could take the tokens; set another identity" }}
{{- end }}
{{- if and $identity.mappings (not (or $identity.tlsSecret $identity.spiffe)) }}
{{- $wrong = append $wrong "identity.mappings: they map the names of certificates; set identity.tlsSecret or identity.spiffe, or take them out" }}
{{- end }}
{{- if gt (len .Values.namespaces) 64 }}
{{- $wrong = append $wrong "namespaces: at most 64 are watched one by one; leave them out to watch all" }}
{{- end }}
{{- if $wrong }}
{{- fail (printf "the control plane cannot run like this:\n  %s" (join "\n  " $wrong)) }}
{{- end }}
{{- end }}
