"""gRPC's C-core, with its own xDS client, by its binding for Python. It calls the health service of
what TARGET resolves to, as often as asked on stdin, and prints who answered, one line for each
number read."""
import os
import sys

import grpc

channel = grpc.insecure_channel(os.environ["TARGET"])
# The messages of grpc.health.v1 are empty or one small number: written by hand.
check = channel.unary_unary("/grpc.health.v1.Health/Check")


def answer():
    try:
        _, call = check.with_call(b"", timeout=5, wait_for_ready=True)
        return dict(call.trailing_metadata()).get("from", "nobody")
    except grpc.RpcError as error:
        return "error:" + error.code().name


for line in sys.stdin:
    answers = []
    while len(answers) < int(line) and not (answers and answers[-1].startswith("error")):
        answers.append(answer())
    print(" ".join(answers), flush=True)
