{{/*
pannier.service is the Service by which control planes find the sidecars: one for each agent, whose address
must agree with the annotations pannier.io/org and pannier.io/env of the Namespace. The first is named as
the workload, and governs a StatefulSet. None has publishNotReadyAddresses: others would take pods for
ready that are not, and never see one drain. The port is a number: until 1.33 Kubernetes does not find the
name of a port of an init container, and the Service would have no endpoints.
*/}}
{{- define "pannier.service" -}}
{{- $w := . }}
{{- range $i, $agent := (include "pannier.settings" . | fromYaml).agents }}
{{- $address := include "pannier.address" $agent }}
{{- if $i }}
---
{{ end -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "pannier.serviceName" (dict "name" $w.name "address" $address "index" $i) | quote }}
  labels:
    pannier.io/mesh: enabled
    {{- with $w.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    pannier.io/agent: {{ $address | quote }}
spec:
  clusterIP: None
  selector:
    {{- toYaml $w.selector | nindent 4 }}
  ports:
    - {name: pannier-peer, port: 7401, targetPort: 7401, appProtocol: pannier.io/peer}
{{- end }}
{{- end }}

{{/*
pannier.peopleService is the Service behind which something serves TLS to people's browsers; empty where
nobody may log in. Its name is the workload's with -people.
*/}}
{{- define "pannier.peopleService" -}}
{{- if (include "pannier.settings" . | fromYaml).peopleSecret -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ printf "%s-people" .name | quote }}
  {{- with .labels }}
  labels:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  selector:
    {{- toYaml .selector | nindent 4 }}
  ports:
    - {name: people, port: 80, targetPort: 7404, appProtocol: http}
{{- end }}
{{- end }}

{{/* pannier.address is the address of an item of agents, as it is compared: with agent:// where it has a slash. */}}
{{- define "pannier.address" -}}
{{- $address := first (splitList "=" .) }}
{{- if and (contains "/" $address) (not (contains "://" $address)) }}agent://{{ end }}{{ $address }}
{{- end }}

{{/* pannier.serviceName is the name of the Service of one agent: the workload's, and with the last word of the address for those after the first. */}}
{{- define "pannier.serviceName" -}}
{{- if .index }}{{ .name }}-{{ base .address }}{{ else }}{{ .name }}{{ end }}
{{- end }}
