{{- /* What every pod has: hardened, with the keys where the server wants them. */ -}}

{{- define "scrinia.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false  # a Service named scrinia would look like a setting
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "scrinia.containerSecurity" -}}
image: {{ include "scrinia.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{- define "scrinia.secretVariable" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef: {name: {{ .reference.secret | quote }}, key: {{ .reference.key | quote }}}
{{- end -}}

{{- define "scrinia.environment" -}}
{{ include "scrinia.secretVariable" (dict "name" "SCRINIA_DATABASE_URL" "reference" .Values.database.url) }}
{{- if .Values.database.directUrl.secret }}
{{ include "scrinia.secretVariable" (dict "name" "SCRINIA_DATABASE_DIRECT_URL" "reference" .Values.database.directUrl) }}
{{- end }}
{{- if .Values.nats.url }}
- name: SCRINIA_NATS_URL
  value: {{ .Values.nats.url | quote }}
- name: SCRINIA_NATS_REPLICAS
  value: {{ .Values.nats.replicas | quote }}
{{- end }}
{{- if .Values.nats.credentials.secret }}
- name: SCRINIA_NATS_CREDENTIALS_FILE
  value: /nats/{{ .Values.nats.credentials.key }}
{{- end }}
{{- range $name, $value := .Values.settings }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end -}}

{{- /* Secrets are mounted readable by a group; the server wants its keys for its owner alone. */ -}}
{{- define "scrinia.keysContainer" -}}
- name: keys
  {{- include "scrinia.containerSecurity" . | nindent 2 }}
  command: [sh, -euc]
  args:
    - |
      from=/keys to=/data
      install -d -m 0700 "$to/keys"
      for key in event checkpoint webhook sign-in; do
        install -m 0600 "$from/$key.key" "$to/keys/$key.key"
      done
      install -m 0600 "$from/trust.json" "$to/trust.json"
  resources:
    requests: {cpu: 10m, memory: 16Mi}
    limits: {memory: 64Mi}
  volumeMounts:
    - {name: keys, mountPath: /keys, readOnly: true}
    - {name: data, mountPath: /data}
{{- end -}}

{{- define "scrinia.mounts" -}}
- {name: data, mountPath: /data}
- {name: tmp, mountPath: /tmp}
{{- if .Values.nats.credentials.secret }}
- {name: nats, mountPath: /nats, readOnly: true}
{{- end }}
{{- end -}}

{{- define "scrinia.volumes" -}}
- name: data
  emptyDir: {medium: Memory, sizeLimit: 64Mi}
- name: tmp
  emptyDir: {sizeLimit: 256Mi}
- name: keys
  secret: {secretName: {{ .Values.keys.secret | quote }}, defaultMode: 0440}
{{- if .Values.nats.credentials.secret }}
- name: nats
  secret: {secretName: {{ .Values.nats.credentials.secret | quote }}, defaultMode: 0440}
{{- end }}
{{- end -}}
