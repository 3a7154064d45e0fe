{{- define "weir.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "weir.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "weir.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "weir.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "weir.labels" -}}
app.kubernetes.io/name: {{ include "weir.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Labels by which pods of a component are found; the context is a list of the root and the component. */}}
{{- define "weir.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "weir.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "weir.collector" -}}
{{- printf "%s-collector" (include "weir.fullname" .) -}}
{{- end -}}

{{- define "weir.redis" -}}
{{- printf "%s-redis" (include "weir.fullname" .) -}}
{{- end -}}

{{- define "weir.collectorHost" -}}
{{- printf "%s.%s.svc.cluster.local" (include "weir.collector" .) .Release.Namespace -}}
{{- end -}}

{{- define "weir.tokenSecret" -}}
{{- default (printf "%s-token" (include "weir.collector" .)) .Values.collector.token.existingSecret -}}
{{- end -}}

{{- define "weir.hasToken" -}}
{{- if or .Values.collector.token.existingSecret .Values.collector.token.value -}}true{{- end -}}
{{- end -}}

{{/* The policy document as JSON, with the way to this release's collector where it names none. */}}
{{- define "weir.document" -}}
{{- $document := deepCopy .Values.policy.document -}}
{{- if not (hasKey $document "events") -}}
{{- $cluster := printf "outbound|%v||%s" .Values.collector.service.port (include "weir.collectorHost" .) -}}
{{- if eq .Values.plugin.kind "envoy-extension-policy" -}}
{{- $cluster = printf "httproute/%s/%s/rule/0" .Release.Namespace (include "weir.collector" .) -}}
{{- end -}}
{{- $events := dict "cluster" $cluster "authority" (include "weir.collectorHost" .) -}}
{{- if include "weir.hasToken" . -}}
{{- $_ := set $events "token_env" "WEIR_COLLECTOR_TOKEN" -}}
{{- end -}}
{{- $_ := set $document "events" $events -}}
{{- end -}}
{{- toJson $document -}}
{{- end -}}

{{/* Variables of the VM: those of the values, and the collector's token where one is asked for. */}}
{{- define "weir.env" -}}
{{- $env := .Values.plugin.env -}}
{{- if include "weir.hasToken" . -}}
{{- $env = append $env (dict "name" "WEIR_COLLECTOR_TOKEN" "valueFrom" "HOST") -}}
{{- end -}}
{{- toJson $env -}}
{{- end -}}

{{- define "weir.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- define "weir.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}
