{{/* pannier.validate fails with one sentence for each thing that is wrong, all at once. It renders nothing. */}}
{{- define "pannier.validate" -}}
{{- $s := include "pannier.settings" . | fromYaml }}
{{- $spec := .spec | default dict }}
{{- $wrong := list }}

{{- $known := keys (include "pannier.defaults" . | fromYaml) | sortAlpha }}
{{- range $key := keys (.pannier | default dict) | sortAlpha }}
{{- if not (has $key $known) }}
{{- $wrong = append $wrong (printf "pannier.%s: unknown; known are %s" $key (join ", " $known)) }}
{{- end }}
{{- end }}

{{- if not $s.agents }}
{{- $wrong = append $wrong "pannier.agents: nothing says which agents the pod serves; set it, such as [agent://acme/prod/orders]" }}
{{- end }}
{{- $segment := `(\.*[A-Za-z0-9_~@+-][A-Za-z0-9._~@+-]*|\.{3,})` }}
{{- $agent := printf `^([a-z0-9+.-]+://)?%s(/%s)*(=(poll|stream|inbox|http:https?://[^\s,$]+))?$` $segment $segment }}
{{- $seen := dict }}
{{- $named := dict }}
{{- $workload := .name }}
{{- range $i, $_ := $s.agents }}
{{- $address := trimPrefix "agent://" (first (splitList "=" .)) }}
{{- if not (regexMatch $agent .) }}
{{- $wrong = append $wrong (printf "pannier.agents: %q is not an agent; write ADDRESS, or ADDRESS=poll, =stream, =inbox or =http:URL" .) }}
{{- else if hasKey $seen $address }}
{{- $wrong = append $wrong (printf "pannier.agents: %s is listed twice; take one out" $address) }}
{{- end }}
{{- $_ := set $seen $address true }}
{{- $service := include "pannier.serviceName" (dict "name" $workload "address" $address "index" $i) }}
{{- if or (gt (len $service) 63) (not (regexMatch `^[a-z]([-a-z0-9]*[a-z0-9])?$` $service)) }}
{{- $wrong = append $wrong (printf "pannier.agents: the Service of %s would be called %q, which is no name of a Service; serve it in a pod of its own" $address $service) }}
{{- else if hasKey $named $service }}
{{- $wrong = append $wrong (printf "pannier.agents: the Services of %s and %s would both be called %s; serve one of them in a pod of its own" (get $named $service) $address $service) }}
{{- end }}
{{- $_ := set $named $service $address }}
{{- end }}
{{- $port := int $s.appPort }}
{{- if or (lt $port 0) (gt $port 65535) }}
{{- $wrong = append $wrong (printf "pannier.appPort: %d is not a port from 1 to 65535" $port) }}
{{- else if and $port (not (hasPrefix "/" $s.callbackPath)) }}
{{- $wrong = append $wrong (printf "pannier.callbackPath: %q is not the path of a URL; begin it with /" $s.callbackPath) }}
{{- end }}
{{- if not $s.controlPlane }}
{{- $wrong = append $wrong "pannier.controlPlane: empty; write HOST:PORT, or none" }}
{{- end }}
{{- if not (kindIs "bool" $s.native) }}
{{- $wrong = append $wrong (printf "pannier.native: %v is neither true nor false; write it without quotes" $s.native) }}
{{- end }}
{{- if and (ge $port 7400) (le $port 7403) }}
{{- $wrong = append $wrong (printf "pannier.appPort: %d is a port of the sidecar, which has 7400 to 7403; move the app" $port) }}
{{- end }}

{{- if $s.peopleSecret }}
{{- if not (hasPrefix "https://" $s.peopleURL) }}
{{- $wrong = append $wrong (printf "pannier.peopleURL: %q is not where browsers find the pages for people over TLS; write https://HOST" $s.peopleURL) }}
{{- end }}
{{- if and $s.peopleHeader (not $s.peopleProxies) }}
{{- $wrong = append $wrong "pannier.peopleProxies: empty, and anybody could send pannier.peopleHeader; list the addresses or networks of the proxy that logs people in" }}
{{- end }}
{{- with get $named (printf "%s-people" $workload) }}
{{- $wrong = append $wrong (printf "pannier.peopleSecret: the Services of people and of %s would both be called %s-people; serve that in a pod of its own" . $workload) }}
{{- end }}
{{- if eq $port 7404 }}
{{- $wrong = append $wrong "pannier.appPort: 7404 is the sidecar's port for people; move the app" }}
{{- end }}
{{- else }}
{{- range list "peopleURL" "peopleHeader" "peopleProxies" }}
{{- if get $s . }}
{{- $wrong = append $wrong (printf "pannier.%s: nobody may log in; set pannier.peopleSecret, or take it out" .) }}
{{- end }}
{{- end }}
{{- end }}

{{- $chosen := list }}
{{- range list "tlsSecret" "keyringSecret" "spiffe" "insecurePeer" }}
{{- if get $s . }}{{ $chosen = append $chosen (printf "pannier.%s" .) }}{{ end }}
{{- end }}
{{- if not $chosen }}
{{- $wrong = append $wrong "pannier.tlsSecret: nothing says how sidecars prove who they are; set one of pannier.tlsSecret, pannier.keyringSecret, pannier.spiffe, pannier.insecurePeer" }}
{{- else if gt (len $chosen) 1 }}
{{- $wrong = append $wrong (printf "%s: set together with %s; take all but one out" (first $chosen) (join ", " (rest $chosen))) }}
{{- end }}

{{- $grace := 30 }}
{{- if hasKey $spec "terminationGracePeriodSeconds" }}{{ $grace = int $spec.terminationGracePeriodSeconds }}{{ end }}
{{- $drain := int $s.drainSeconds }}
{{- if or (lt $drain 5) (gt $drain 3600) }}
{{- $wrong = append $wrong (printf "pannier.drainSeconds: %v is not a number of seconds from 5 to 3600" $s.drainSeconds) }}
{{- else if ge (add $drain 5) $grace }}
{{- $wrong = append $wrong (printf "pannier.drainSeconds: %d, and 5 to close the journal in, are not less than terminationGracePeriodSeconds, which is %d; lower it or raise that" $drain $grace) }}
{{- end }}
{{- if and (not $s.native) (has .kind (list "Job" "CronJob")) }}
{{- $wrong = append $wrong (printf "pannier.native: false in a %s, which would never end; take it out" .kind) }}
{{- end }}

{{- if $spec.hostNetwork }}
{{- $wrong = append $wrong "spec.hostNetwork: true: the app API, which asks for no key, would be open to the whole node; take it out" }}
{{- end }}
{{- if or (eq "windows" (dig "os" "name" "" $spec)) (eq "windows" (get ($spec.nodeSelector | default dict) "kubernetes.io/os")) }}
{{- $wrong = append $wrong "spec.os: windows: the sidecar runs on Linux; leave the pod without it" }}
{{- end }}
{{- range concat ($spec.initContainers | default list) ($spec.containers | default list) }}
{{- $name := .name }}
{{- if eq $name "pannier" }}
{{- $wrong = append $wrong "spec.containers: one is called pannier and is not the sidecar; rename it" }}
{{- end }}
{{- range .ports }}
{{- if and (ge (int .containerPort) 7400) (le (int .containerPort) 7403) }}
{{- $wrong = append $wrong (printf "spec.containers: %s has port %d, and the sidecar 7400 to 7403; move it" $name (int .containerPort)) }}
{{- end }}
{{- end }}
{{- end }}
{{- range $spec.volumes }}
{{- if and (eq .name "pannier-journal") (hasKey . "persistentVolumeClaim") (ne $.kind "StatefulSet") }}
{{- $wrong = append $wrong (printf "spec.volumes: pannier-journal is a claim that two pods of a %s may have at once; take a StatefulSet, or pannier.journalClass" $.kind) }}
{{- else if has .name (list "pannier-token" "pannier-tls" "pannier-keyring" "pannier-spiffe" "pannier-config" "pannier-people") }}
{{- $wrong = append $wrong (printf "spec.volumes: %s is a name of the sidecar's; rename it" .name) }}
{{- end }}
{{- end }}

{{- if $wrong }}
{{- fail (printf "%s %s cannot have a sidecar:\n  %s" .kind .name (join "\n  " $wrong)) }}
{{- end }}
{{- end }}
