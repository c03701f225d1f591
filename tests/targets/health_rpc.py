"""A real gRPC server with the standard health service (grpcio-health-checking).

Prints its port. Then takes lines on stdin: "SERVICE STATUS" sets a status ("" is "-"), and says so.
Options: --port N, --plain (no health service), --file PATH (its first word is the status of "",
looked at again ten times a second).
"""

from __future__ import annotations

import argparse
import sys
import threading
from concurrent import futures
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

STATUS = health_pb2.HealthCheckResponse.ServingStatus


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", default="0")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--file", type=Path)
    options = parser.parse_args()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    servicer = health.HealthServicer()
    if not options.plain:
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port(f"127.0.0.1:{options.port}")
    servicer.set("a.b.Service", STATUS.SERVING)
    servicer.set("sick", STATUS.NOT_SERVING)
    server.start()
    print(port, flush=True)
    if options.file:
        while True:
            servicer.set("", STATUS.Value(options.file.read_text().split()[0]))
            threading.Event().wait(0.1)
    for line in sys.stdin:
        service, status = line.split()
        servicer.set("" if service == "-" else service, STATUS.Value(status))
        print("set", flush=True)
    server.wait_for_termination()


main()
