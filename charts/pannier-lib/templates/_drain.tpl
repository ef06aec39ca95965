{{/*
pannier.drainJob is a Job that empties the journal which the pod of a StatefulSet has left that is gone for
good: it takes the workload, and the ordinal of the pod. What the journal is home of is delivered, what it
holds for others is given back. The Job is retried until nothing is left; the claim can be deleted then.
Its pod is none of the workload's, so that no Service leads to it.
*/}}
{{- define "pannier.drainJob" -}}
{{- include "pannier.validate" . }}
{{- $s := include "pannier.settings" . | fromYaml -}}
{{- $name := printf "%s-drain-%d" .name (int .ordinal) -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ $name | quote }}
  {{- with .labels }}
  labels:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  backoffLimit: 1000
  template:
    metadata:
      labels:
        app.kubernetes.io/component: drain
        {{- include "pannier.podLabels" . | nindent 8 }}
    spec:
      restartPolicy: OnFailure
      automountServiceAccountToken: false
      {{- with (.spec | default dict).serviceAccountName }}
      serviceAccountName: {{ . | quote }}
      {{- end }}
      {{- with (.spec | default dict).imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- include "pannier.podSecurityContext" . | nindent 8 }}
      containers:
        - name: pannier
          image: {{ $s.image | quote }}
          args: [drain]
          env:
            - name: POD_IP
              valueFrom: {fieldRef: {fieldPath: status.podIP}}
            - {name: PANNIER_JOURNAL, value: /var/lib/pannier}
            - {name: PANNIER_PEER, value: ":7401"}
            - {name: PANNIER_ADVERTISE, value: "[$(POD_IP)]:7401"}
            {{- include "pannier.proofEnv" . | trim | nindent 12 }}
          ports:
            - {name: pannier-peer, containerPort: 7401}
          resources:
            {{- include "pannier.resources" . | trim | nindent 12 }}
          securityContext:
            {{- include "pannier.securityContext" . | nindent 12 }}
          volumeMounts:
            - {name: pannier-journal, mountPath: /var/lib/pannier}
            {{- with include "pannier.proofMounts" . | trim }}
            {{- . | nindent 12 }}
            {{- end }}
      volumes:
        - name: pannier-journal
          persistentVolumeClaim: {claimName: {{ printf "pannier-journal-%s-%d" .name (int .ordinal) | quote }}}
        {{- with include "pannier.proofVolumes" . | trim }}
        {{- . | nindent 8 }}
        {{- end }}
{{- end }}
