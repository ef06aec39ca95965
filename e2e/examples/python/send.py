#!/usr/bin/env python3
"""send.py AGENT JSON: sends one intent and prints how it ended."""
import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid

API = os.environ.get("PANNIER", "http://127.0.0.1:7400")


def call(path, body=None, **headers):
    """One request, tried again while no answer comes or the answer asks for it."""
    data = None if body is None else body.encode()
    headers = {"Content-Type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
    while True:
        try:
            with urllib.request.urlopen(urllib.request.Request(API + path, data, headers), timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refusal:
            if refusal.code < 500 and refusal.code != 429:
                sys.exit(refusal.read().decode())
        except (OSError, ValueError):
            pass  # no answer, or half of one
        time.sleep(1)


agent, payload = sys.argv[1].removeprefix("agent://"), sys.argv[2]
# The key makes one intent of all tries, also of one whose answer was lost.
sent = call(f"/v1/agents/{agent}/intents/order.process.v1", payload, Idempotency_Key=str(uuid.uuid4()))
while True:
    intent = call(f"/v1/intents/{sent['intent_id']}?wait_for=terminal&wait_seconds=20")["intent"]
    if intent["status"] in ("COMPLETED", "FAILED", "CANCELED", "TIMED_OUT"):
        break
print(json.dumps({k: intent.get(k) for k in ("intent_id", "status", "result", "error")}))
