#!/usr/bin/env python3
"""stream.py AGENT: reads the stream of hand-overs and answers each."""
import http.client
import json
import os
import sys
import time
import urllib.request

API = os.environ.get("PANNIER", "http://127.0.0.1:7400")
BROKEN = (OSError, ValueError, http.client.HTTPException)


def work(order):
    return {"paid": order["total"], "by": "python/stream"}


def answer(item):
    try:
        verb, body = "ack", {"result": work(item["payload"])}
    except Exception as e:  # the work failed: it comes again after a pause
        verb, body = "nack", {"reason": repr(e)}
    data = json.dumps({"lease_id": item["lease_id"], **body}).encode()
    request = urllib.request.Request(f"{API}/v1/intents/{item['intent_id']}/{verb}", data, {"Content-Type": "application/json"})
    try:
        urllib.request.urlopen(request, timeout=30).close()
        print(item["intent_id"], verb, flush=True)
    except BROKEN as e:  # unanswered, it comes again when its lease is over
        print(verb, e, file=sys.stderr)


agent, since = sys.argv[1].removeprefix("agent://"), 0
while True:
    try:
        # Comments come every 15 s: a minute of silence is a dead connection.
        with urllib.request.urlopen(f"{API}/v1/agents/{agent}/intents/stream?since={since}", timeout=60) as frames:
            for line in frames:
                if line.startswith(b"data: ") and "intent_id" in (item := json.loads(line[6:])):
                    answer(item)
                    since = item["seq"]
    except BROKEN as e:
        print("stream:", e, file=sys.stderr)
    time.sleep(1)  # the stream ended: the sidecar restarts
