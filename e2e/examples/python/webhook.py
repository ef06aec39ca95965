#!/usr/bin/env python3
"""webhook.py PORT SECRETS: receives intents by http; SECRETS is the file that `pannier secret list` names."""
import base64
import hashlib
import hmac
import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def signed(headers, body):
    """Is one of the signatures of one of the secrets? While a secret is rotated there are several of both."""
    name, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not at.isdecimal() or abs(time.time() - int(at)) > 300:
        return False
    with open(sys.argv[2]) as file:
        secrets = [s["secret"] for s in json.load(file)["secrets"]]
    for secret in secrets:
        key = base64.b64decode(secret.removeprefix("whsec_"))
        mac = hmac.new(key, f"{name}.{at}.".encode() + body, hashlib.sha256).digest()
        want = b"v1," + base64.b64encode(mac)
        for got in headers.get("webhook-signature", "").split():
            if hmac.compare_digest(got.encode(), want):
                return True
    return False


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))  # the bytes as they came
        if not signed(self.headers, body):
            return self.respond(401, {"error": "bad signature"})
        # Work once: keep webhook-id beside what the work changes, and answer 200 at once when it is there.
        order = json.loads(body)["payload"]
        if "total" not in order:
            return self.respond(422, {"error": "no total"})
        self.respond(200, {"paid": order["total"], "by": "python/webhook"})

    def respond(self, status, answer):
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
