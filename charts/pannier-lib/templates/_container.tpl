{{/*
pannier.initContainer is the sidecar as an item of initContainers, to stand first there: a native sidecar,
ready before the app starts and ended after it. It renders nothing where pannier.native is false.
*/}}
{{- define "pannier.initContainer" -}}
{{- include "pannier.validate" . }}
{{- if (include "pannier.settings" . | fromYaml).native }}
{{- include "pannier.sidecar" . }}
{{- end }}
{{- end }}

{{/*
pannier.container is the sidecar as an item of containers, to stand last there: the way out where
pannier.native is false. It starts and ends beside the app.
*/}}
{{- define "pannier.container" -}}
{{- include "pannier.validate" . }}
{{- if not (include "pannier.settings" . | fromYaml).native }}
{{- include "pannier.sidecar" . }}
{{- end }}
{{- end }}

{{- define "pannier.sidecar" -}}
{{- $s := include "pannier.settings" . | fromYaml -}}
- name: pannier
  image: {{ $s.image | quote }}
  args: [run]
  {{- if $s.native }}
  restartPolicy: Always
  {{- end }}
  env:
    - name: POD_IP # first: a variable can name only those before it
      valueFrom: {fieldRef: {fieldPath: status.podIP}}
    - {name: PANNIER_AGENT, value: {{ include "pannier.agents" . | quote }}}
    - {name: PANNIER_JOURNAL, value: /var/lib/pannier}
    {{- if ne (include "pannier.journal" .) "claim" }}
    - {name: PANNIER_EPHEMERAL, value: "true"}
    {{- end }}
    - {name: PANNIER_PEER, value: ":7401"}
    - {name: PANNIER_ADVERTISE, value: "[$(POD_IP)]:7401"}
    - {name: PANNIER_HEALTH, value: ":7403"}
    - {name: PANNIER_DRAIN_SECONDS, value: {{ int $s.drainSeconds | quote }}}
    {{- include "pannier.proofEnv" . | trim | nindent 4 }}
    {{- with include "pannier.peopleEnv" . | trim }}
    {{- . | nindent 4 }}
    {{- end }}
  ports:
    - {name: pannier-peer, containerPort: 7401}
    - {name: pannier-health, containerPort: 7403}
    {{- if $s.peopleSecret }}
    - {name: pannier-people, containerPort: 7404}
    {{- end }}
  {{- /* No start that only waits takes minutes, but one that goes on without what a damaged journal has lost
         reads all that is left, and killed meanwhile it begins again. */}}
  startupProbe:
    httpGet: {path: /startupz, port: pannier-health}
    periodSeconds: 1
    failureThreshold: 900
  readinessProbe:
    httpGet: {path: /readyz, port: pannier-health}
    periodSeconds: 5
  livenessProbe:
    httpGet: {path: /healthz, port: pannier-health}
    periodSeconds: 10
    failureThreshold: 6
  {{- /* A plain container is told to end together with the app, whose last words come later. Kubernetes
         1.29 knows no sleep, and refuses a pod with it; the image has no shell to sleep in. There the
         drain alone has to last until the app has ended. */}}
  {{- if and (not $s.native) (semverCompare ">=1.30-0" .root.Capabilities.KubeVersion.Version) }}
  lifecycle:
    preStop: {sleep: {seconds: 5}}
  {{- end }}
  resources:
    {{- include "pannier.resources" . | trim | nindent 4 }}
  securityContext:
    {{- include "pannier.securityContext" . | nindent 4 }}
  volumeMounts:
    - {name: pannier-journal, mountPath: /var/lib/pannier}
    {{- with include "pannier.proofMounts" . | trim }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- if $s.peopleSecret }}
    - {name: pannier-people, mountPath: /etc/pannier/people, readOnly: true}
    {{- end }}
{{- end }}

{{/* pannier.peopleEnv is who may log in to the pages for people, and how; empty: nobody. */}}
{{- define "pannier.peopleEnv" -}}
{{- $s := include "pannier.settings" . | fromYaml }}
{{- if $s.peopleSecret }}
- {name: PANNIER_PEOPLE, value: ":7404"}
- {name: PANNIER_PEOPLE_FILE, value: /etc/pannier/people/people.yaml}
- {name: PANNIER_PEOPLE_URL, value: {{ $s.peopleURL | quote }}}
{{- if $s.peopleHeader }}
- {name: PANNIER_PEOPLE_HEADER, value: {{ $s.peopleHeader | quote }}}
{{- end }}
{{- if $s.peopleProxies }}
- {name: PANNIER_PEOPLE_PROXIES, value: {{ join "," $s.peopleProxies | quote }}}
{{- end }}
{{- end }}
{{- end }}

{{/* pannier.proofEnv is what tells a sidecar where it asks for others, and how they know it. */}}
{{- define "pannier.proofEnv" -}}
{{- $s := include "pannier.settings" . | fromYaml }}
{{- if ne $s.controlPlane "none" }}
- {name: PANNIER_XDS, value: {{ $s.controlPlane | quote }}}
{{- end }}
{{- if include "pannier.token" . }}
- {name: PANNIER_XDS_TOKEN, value: /var/run/secrets/pannier/token}
{{- end }}
{{- if $s.tlsSecret }}
- {name: PANNIER_TLS_CERT, value: /etc/pannier/tls/tls.crt}
- {name: PANNIER_TLS_KEY, value: /etc/pannier/tls/tls.key}
- {name: PANNIER_TLS_CA, value: /etc/pannier/tls/ca.crt}
{{- else if $s.keyringSecret }}
- {name: PANNIER_KEYRING, value: /etc/pannier/keyring/keyring.yaml}
{{- else if $s.spiffe }}
- {name: PANNIER_SPIFFE_SOCKET, value: "unix:///run/spiffe/spire-agent.sock"}
{{- else }}
- {name: PANNIER_INSECURE_PEER, value: "true"}
{{- end }}
{{- if $s.config }}
- {name: PANNIER_CONFIG, value: /etc/pannier/config/config.yaml}
{{- end }}
{{- end }}

{{- define "pannier.proofMounts" -}}
{{- $s := include "pannier.settings" . | fromYaml }}
{{- if include "pannier.token" . }}
- {name: pannier-token, mountPath: /var/run/secrets/pannier, readOnly: true}
{{- end }}
{{- if $s.tlsSecret }}
- {name: pannier-tls, mountPath: /etc/pannier/tls, readOnly: true}
{{- end }}
{{- if $s.keyringSecret }}
- {name: pannier-keyring, mountPath: /etc/pannier/keyring, readOnly: true}
{{- end }}
{{- if $s.spiffe }}
- {name: pannier-spiffe, mountPath: /run/spiffe, readOnly: true}
{{- end }}
{{- if $s.config }}
- {name: pannier-config, mountPath: /etc/pannier/config, readOnly: true}
{{- end }}
{{- end }}

{{- define "pannier.securityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "pannier.resources" -}}
{{- $s := include "pannier.settings" . | fromYaml -}}
requests: {cpu: {{ $s.cpu | quote }}, memory: {{ $s.memory | quote }}}
limits: {memory: {{ $s.memory | quote }}}
{{- end }}
