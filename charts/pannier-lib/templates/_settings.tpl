{{/*
Every template of this library takes one dict, the workload:

  pannier   what is said of the sidecar: the keys of pannier.defaults
  kind      Deployment, StatefulSet, DaemonSet, Job or CronJob
  name      of the workload; its peer Service is called the same
  selector  labels of its pods, for the Service
  labels    of the Service itself; may be left out
  spec      what else the pod says: terminationGracePeriodSeconds, containers, volumes,
            securityContext, …; may be left out
  root      the root context, $

A StatefulSet keeps the journal in a claim of pannier.volumeClaimTemplates; any other kind in a volume
that goes with the pod.
*/}}

{{/* pannier.defaults is what keys that are left out mean. */}}
{{- define "pannier.defaults" -}}
agents: []
appPort: 0
callbackPath: /
config: ""
peopleSecret: ""
peopleURL: ""
peopleHeader: ""
peopleProxies: []
journalSize: 1Gi
journalClass: ""
controlPlane: pannier-control.pannier-system.svc:7410
tlsSecret: ""
keyringSecret: ""
spiffe: false
insecurePeer: false
native: true
drainSeconds: 20
memory: 128Mi
cpu: 25m
image: pannier:0.1.0
{{- end }}

{{/* pannier.settings is what is said of the sidecar, over the defaults. */}}
{{- define "pannier.settings" -}}
{{- $settings := include "pannier.defaults" . | fromYaml }}
{{- range $key, $value := .pannier }}
{{- $_ := set $settings $key $value }}
{{- end }}
{{- toYaml $settings }}
{{- end }}

{{/* pannier.agents is what the sidecar is told it serves: agents without a binding are sent to the app's port. */}}
{{- define "pannier.agents" -}}
{{- $s := include "pannier.settings" . | fromYaml }}
{{- $agents := list }}
{{- range $s.agents }}
{{- if and $s.appPort (not (contains "=" .)) }}
{{- $agents = append $agents (printf "%s=http:http://127.0.0.1:%d%s" . (int $s.appPort) $s.callbackPath) }}
{{- else }}
{{- $agents = append $agents . }}
{{- end }}
{{- end }}
{{- join "," $agents }}
{{- end }}

{{/* pannier.token is "true" where the control plane is shown the pod's token: only where it has proved who it is. */}}
{{- define "pannier.token" -}}
{{- $s := include "pannier.settings" . | fromYaml }}
{{- if and (ne $s.controlPlane "none") (not $s.insecurePeer) }}true{{ end }}
{{- end }}

{{/* pannier.journal is where the journal is: "claim" in a volume that outlives the pod, "given" in one that the pod brings and that does not, "new" in one that the sidecar brings. */}}
{{- define "pannier.journal" -}}
{{- $where := ternary "claim" "new" (eq .kind "StatefulSet") }}
{{- range (.spec | default dict).volumes }}
{{- if eq .name "pannier-journal" }}
{{- $where = ternary "given" "claim" (or (hasKey . "emptyDir") (hasKey . "ephemeral") (eq (len .) 1)) }}
{{- end }}
{{- end }}
{{- $where }}
{{- end }}

{{/* pannier.podLabels are labels of the pod template. */}}
{{- define "pannier.podLabels" -}}
pannier.io/mesh: enabled
{{- end }}

{{/* pannier.podAnnotations are annotations of the pod template: kubectl and its like show the app first. */}}
{{- define "pannier.podAnnotations" -}}
{{- $containers := (.spec | default dict).containers }}
{{- if $containers -}}
kubectl.kubernetes.io/default-container: {{ (first $containers).name | quote }}
{{- end }}
{{- end }}

{{/* pannier.podSecurityContext is that of the pod: the journal's volume is writable for the sidecar's group, unless the pod says another. */}}
{{- define "pannier.podSecurityContext" -}}
{{- $own := deepCopy ((.spec | default dict).securityContext | default dict) }}
{{- if not (hasKey $own "fsGroup") }}
{{- $own = merge $own (dict "fsGroup" 65532 "fsGroupChangePolicy" "OnRootMismatch") }}
{{- end }}
{{- toYaml $own }}
{{- end }}
