{{- define "scrinia.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "scrinia.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "scrinia.selector" -}}
app.kubernetes.io/name: scrinia
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "scrinia.labels" -}}
{{ include "scrinia.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}
