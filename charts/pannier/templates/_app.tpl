{{/* app.workload is what the templates of pannier-lib take, for the app NAME of (dict "name" NAME "root" $). */}}
{{- define "app.workload" -}}
{{- $app := include "app.values" . | fromYaml }}
{{- $spec := pick $app "terminationGracePeriodSeconds" "nodeSelector" "serviceAccountName" "imagePullSecrets" }}
{{- $container := dict "name" .name }}
{{- if $app.port }}
{{- $container = set $container "ports" (list (dict "containerPort" (int $app.port))) }}
{{- end }}
{{- $spec = set $spec "containers" (list $container) }}
{{- $labels := dict "app.kubernetes.io/name" .name "app.kubernetes.io/instance" .root.Release.Name }}
{{- dict "pannier" $app.pannier "kind" $app.kind "name" .name "selector" $labels "labels" (dict "app.kubernetes.io/name" .name "app.kubernetes.io/instance" .root.Release.Name "app.kubernetes.io/managed-by" .root.Release.Service) "spec" $spec | toYaml }}
{{- end }}

{{/* app.values is the app's own over the defaults, one level down in pannier too. */}}
{{- define "app.values" -}}
{{- $values := deepCopy .root.Values.defaults }}
{{- range $key, $value := get .root.Values.apps .name }}
{{- if ne $key "pannier" }}
{{- $_ := set $values $key $value }}
{{- end }}
{{- end }}
{{- range $key, $value := (get .root.Values.apps .name).pannier }}
{{- $_ := set $values.pannier $key $value }}
{{- end }}
{{- toYaml $values }}
{{- end }}
