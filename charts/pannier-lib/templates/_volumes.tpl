{{/* pannier.volumes are items of the pod's volumes. The journal is among them where no claim and no volume of the pod has it. */}}
{{- define "pannier.volumes" -}}
{{- include "pannier.volumeList" . | trim }}
{{- end }}

{{- define "pannier.volumeList" -}}
{{- $s := include "pannier.settings" . | fromYaml }}
{{- if eq (include "pannier.journal" .) "new" }}
{{- if $s.journalClass }}
- name: pannier-journal
  ephemeral:
    volumeClaimTemplate:
      spec:
        accessModes: [ReadWriteOncePod]
        storageClassName: {{ $s.journalClass | quote }}
        resources: {requests: {storage: {{ $s.journalSize | quote }}}}
{{- else }}
- name: pannier-journal
  emptyDir: {sizeLimit: {{ $s.journalSize | quote }}}
{{- end }}
{{- end }}
{{- include "pannier.proofVolumes" . }}
{{- if $s.peopleSecret }}
- name: pannier-people
  secret: {secretName: {{ $s.peopleSecret | quote }}, defaultMode: 0440}
{{- end }}
{{- end }}

{{- define "pannier.proofVolumes" -}}
{{- $s := include "pannier.settings" . | fromYaml }}
{{- if include "pannier.token" . }}
- name: pannier-token
  projected:
    sources:
      - serviceAccountToken: {audience: pannier, expirationSeconds: 3600, path: token}
{{- end }}
{{- if $s.tlsSecret }}
- name: pannier-tls
  secret: {secretName: {{ $s.tlsSecret | quote }}, defaultMode: 0440}
{{- end }}
{{- if $s.keyringSecret }}
- name: pannier-keyring
  secret: {secretName: {{ $s.keyringSecret | quote }}, defaultMode: 0440}
{{- end }}
{{- if $s.spiffe }}
- name: pannier-spiffe
  csi: {driver: csi.spiffe.io, readOnly: true}
{{- end }}
{{- if $s.config }}
- name: pannier-config
  configMap: {name: {{ $s.config | quote }}}
{{- end }}
{{- end }}

{{/*
pannier.volumeClaimTemplates are items of a StatefulSet's volumeClaimTemplates. Nothing of them can change
in an upgrade: there is no label of a version here, and another size needs a StatefulSet that is deleted
with --cascade=orphan first.
*/}}
{{- define "pannier.volumeClaimTemplates" -}}
{{- $s := include "pannier.settings" . | fromYaml -}}
- metadata:
    name: pannier-journal
  spec:
    accessModes: [ReadWriteOncePod]
    {{- if $s.journalClass }}
    storageClassName: {{ $s.journalClass | quote }}
    {{- end }}
    resources: {requests: {storage: {{ $s.journalSize | quote }}}}
{{- end }}
