#!/usr/bin/env bash
# send.sh AGENT JSON: sends one intent and prints how it ended. Needs curl and jq.
set -euo pipefail
api=${PANNIER:-http://127.0.0.1:7400}

# The key makes one intent of all tries, also of one whose answer was lost.
id=$(curl -sS --fail-with-body --retry 5 --retry-all-errors "$api/v1/agents/${1#agent://}/intents/order.process.v1" \
  -H 'Content-Type: application/json' -H "Idempotency-Key: $(< /proc/sys/kernel/random/uuid)" -d "$2" | jq -er .intent_id)

while :; do
  intent=$(curl -sS --fail "$api/v1/intents/$id?wait_for=terminal&wait_seconds=20" | jq -c .intent) || { sleep 1; continue; }
  case $(jq -r .status <<< "$intent") in
    COMPLETED | FAILED | CANCELED | TIMED_OUT) break ;;
  esac
done
jq -c '{intent_id, status, result, error}' <<< "$intent"
