#!/usr/bin/env python3
"""poll.py AGENT: takes intents, ten at most at a time, and answers under their leases."""
import json
import os
import sys
import time
import urllib.request

API = os.environ.get("PANNIER", "http://127.0.0.1:7400")


def call(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(API + path, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def work(order):
    return {"paid": order["total"], "by": "python/poll"}


agent = sys.argv[1].removeprefix("agent://")
while True:
    try:
        items = call(f"/v1/agents/{agent}/intents?limit=10&wait_seconds=20")["intents"]
    except (OSError, ValueError) as e:
        print("poll:", e, file=sys.stderr)
        time.sleep(1)  # the sidecar restarts
        continue
    for item in items:
        try:
            verb, answer = "ack", {"result": work(item["payload"])}
        except Exception as e:  # the work failed: it comes again after a pause
            verb, answer = "nack", {"reason": repr(e)}
        try:
            call(f"/v1/intents/{item['intent_id']}/{verb}", {"lease_id": item["lease_id"], **answer})
            print(item["intent_id"], verb, flush=True)
        except (OSError, ValueError) as e:  # unanswered, it comes again when its lease is over
            print(verb, e, file=sys.stderr)
