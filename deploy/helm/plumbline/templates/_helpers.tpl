{{- define "plumbline.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "plumbline.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "plumbline.labels" -}}
{{ include "plumbline.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "plumbline.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{/* The config file. Where it listens is the chart's matter: probes and policies need it. */}}
{{- define "plumbline.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $admin := dict "listen" "0.0.0.0:9600" -}}
{{- if .Values.roles.decide.enabled -}}
{{- $config = set $config "decide" (set (default dict $config.decide) "listen" "0.0.0.0:9700") -}}
{{- end -}}
{{- toYaml (set $config "admin" $admin) -}}
{{- end -}}

{{/* A NetworkPolicy's ports: those of a list of addresses, and further ones. */}}
{{- define "plumbline.ports" -}}
{{- $ports := list -}}
{{- range .addrs -}}
{{- $ports = append $ports (splitList ":" . | last) -}}
{{- end -}}
{{- range .more -}}
{{- $ports = append $ports (toString .) -}}
{{- end -}}
{{- range uniq $ports }}
- {protocol: TCP, port: {{ . }}}
{{- end -}}
{{- end -}}
