#!/usr/bin/env bash
# stream.sh AGENT: reads the stream of hand-overs and answers each. Needs curl and jq.
set -uo pipefail
api=${PANNIER:-http://127.0.0.1:7400}
since=0 # how far this worker got; what an earlier one left open comes with 0

work() { jq -c 'if .total then {paid: .total, by: "curl/stream"} else error("no total") end' <<< "$1"; }

answer() { # answer ID VERB BODY: without it the intent comes again when its lease is over
  curl -sS --fail-with-body -o /dev/null "$api/v1/intents/$1/$2" -H 'Content-Type: application/json' -d "$3" && echo "$1 $2"
}

while :; do
  while read -r line; do
    [[ $line == "data: "*intent_id* ]] || continue
    item=${line#data: }
    since=$(jq -r .seq <<< "$item") id=$(jq -r .intent_id <<< "$item")
    if result=$(work "$(jq -c .payload <<< "$item")"); then
      answer "$id" ack "$(jq -c --argjson result "$result" '{lease_id, result: $result}' <<< "$item")"
    else
      answer "$id" nack "$(jq -c '{lease_id, reason: "no total"}' <<< "$item")"
    fi
  done < <(curl -sSN --fail "$api/v1/agents/${1#agent://}/intents/stream?since=$since")
  sleep 1 # the stream broke: the sidecar restarts
done
