#!/usr/bin/env bash
# poll.sh AGENT: takes intents one by one and answers under their leases. Needs curl and jq.
set -uo pipefail
api=${PANNIER:-http://127.0.0.1:7400}

work() { jq -c 'if .total then {paid: .total, by: "curl/poll"} else error("no total") end' <<< "$1"; }

answer() { # answer ID VERB BODY: without it the intent comes again when its lease is over
  curl -sS --fail-with-body -o /dev/null "$api/v1/intents/$1/$2" -H 'Content-Type: application/json' -d "$3" && echo "$1 $2"
}

while :; do
  items=$(curl -sS --fail "$api/v1/agents/${1#agent://}/intents?limit=1&wait_seconds=20") || { sleep 1; continue; }
  jq -c '.intents[]' <<< "$items" | while read -r item; do
    id=$(jq -r .intent_id <<< "$item")
    if result=$(work "$(jq -c .payload <<< "$item")"); then
      answer "$id" ack "$(jq -c --argjson result "$result" '{lease_id, result: $result}' <<< "$item")"
    else
      answer "$id" nack "$(jq -c '{lease_id, reason: "no total"}' <<< "$item")"
    fi
  done
done
