#!/usr/bin/env bash
# webhook.sh PORT SECRETS: receives intents by http; SECRETS is the file that `pannier secret
# list` names. Needs socat, openssl and jq: bash does not listen.
set -euo pipefail

respond() { printf 'HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s' "$1" "${#2}" "$2"; }

# signed BODY: is one of the signatures of one of the secrets? While a secret is rotated there are
# several of both.
signed() {
  local now secret key want
  now=$(date +%s)
  [[ ${header[webhook-timestamp]:-} =~ ^[0-9]{1,12}$ ]] || return 1
  ((now - header[webhook-timestamp] <= 300 && header[webhook-timestamp] - now <= 300)) || return 1
  while read -r secret; do
    key=$(base64 -d <<< "${secret#whsec_}" | od -An -v -tx1 | tr -d ' \n')
    want=$(printf '%s.%s.%s' "${header[webhook-id]:-}" "${header[webhook-timestamp]}" "$1" |
      openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | base64)
    [[ " ${header[webhook-signature]:-} " != *" v1,$want "* ]] || return 0
  done < <(jq -r '.secrets[].secret' "$secrets")
  return 1
}

handle() {
  local line body=""
  declare -A header
  read -r line
  while IFS=: read -r name value && [[ -n ${name%$'\r'} ]]; do
    value=${value%$'\r'} name=${name,,}
    header[$name]=${value# }
  done
  LC_ALL=C IFS= read -r -N "${header[content-length]:-0}" body || true # the bytes as they came
  signed "$body" || { respond '401 Unauthorized' '{"error":"bad signature"}'; return; }
  # Work once: keep webhook-id beside what the work changes, and answer 200 at once when it is there.
  if result=$(jq -ce 'select(.payload.total) | {paid: .payload.total, by: "curl/webhook"}' <<< "$body"); then
    respond '200 OK' "$result"
  else
    respond '422 Unprocessable Content' '{"error":"no total"}'
  fi
}

secrets=$2
if [[ $1 == handle ]]; then handle; else
  exec socat "TCP-LISTEN:$1,bind=127.0.0.1,reuseaddr,fork" "EXEC:bash $0 handle $secrets"
fi
