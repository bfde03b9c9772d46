{{- define "maskq.labels" -}}
app.kubernetes.io/name: maskq
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion }}
{{- end }}

{{/* Labels that select the pods of a part. Argument: (list . "api") */}}
{{- define "maskq.selector" -}}
app.kubernetes.io/name: maskq
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* MASKQ_PUBLIC_URL, or nothing: links then follow the requests that the ingress controller passes on. */}}
{{- define "maskq.publicUrl" -}}
{{- with .Values.ingress }}
{{- $path := trimSuffix "/" .path }}
{{- if $.Values.publicUrl }}
{{- $.Values.publicUrl }}
{{- else if and .enabled (or .tlsSecret $path) }}
{{- ternary "https" "http" (not (empty .tlsSecret)) }}://{{ .host }}{{ $path }}
{{- end }}
{{- end }}
{{- end }}

{{- define "maskq.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.serviceAccountName }}
serviceAccountName: {{ . }}
{{- end }}
{{- with .Values.images.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "maskq.containerSecurity" -}}
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
{{- end }}

{{- define "maskq.environment" -}}
envFrom:
  - configMapRef: {name: {{ .Release.Name }}-settings}
  {{- with .Values.envFrom }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* Secrets are files in /run/secrets, where maskq reads them. They are not in the environment. */}}
{{- define "maskq.mounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: secrets, mountPath: /run/secrets, readOnly: true}
{{- end }}

{{/* The volumes of a part: it gets the secrets that it needs. Argument: (list . "api") */}}
{{- define "maskq.volumes" -}}
{{- $values := (index . 0).Values }}
{{- $part := index . 1 }}
- name: tmp
  emptyDir: {sizeLimit: 1Gi}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- with get $values.redis.secrets $part | default $values.redis.existingSecret }}
      - secret: {name: {{ . }}, items: [{key: redis_url, path: redis_url}]}
      {{- end }}
      {{- with $values.redis.caSecret }}
      - secret: {name: {{ . }}, items: [{key: ca.crt, path: ca.crt}]}
      {{- end }}
      {{- if and $values.hfTokenSecret (eq $part "worker") }}
      - secret: {name: {{ $values.hfTokenSecret }}, items: [{key: hf_token, path: hf_token}]}
      {{- end }}
{{- end }}
