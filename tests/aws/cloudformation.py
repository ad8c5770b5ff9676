"""CloudFormation as the registrar meets it: requests as it sends them, and the URL that takes the answers.

The shapes are those of the User Guide, "Custom resource request and response reference", examples.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

STACK_ID = "arn:aws:cloudformation:us-east-1:123456789012:stack/shop/5b918d10-cd98-11ea-90d5-0a9cd3354c10"
TOKEN = "arn:aws:lambda:us-east-1:123456789012:function:shop-RegistrarFunction-3Q"
VERSION = "arn:aws:lambda:us-east-1:123456789012:function:shop-WorkFunction-1P:{}"


class AnswerBox:
    """What was put to the answer URL. The first requests get the statuses in `refuse`, and are not kept."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.refuse: list[int] = []
        self.url = ""

    @property
    def answers(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body in self.bodies]

    def put(self, body: bytes, headers: dict[str, str]) -> int:
        if self.refuse:
            return self.refuse.pop(0)
        self.bodies.append(body)
        self.headers.append(headers)
        return 200


@contextmanager
def answer_box() -> Iterator[AnswerBox]:
    """A loopback server in place of the S3 bucket behind a presigned URL."""
    box = AnswerBox()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(box.put(body, dict(self.headers)))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    box.url = f"http://127.0.0.1:{server.server_port}/arn%3Aaws%3Acloudformation?X-Amz-Signature=secret"
    try:
        yield box
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def request(kind: str, url: str, *, version: int = 1, before: int | None = None, **more: Any) -> dict[str, Any]:
    """A request of CloudFormation. `before` is the version of the deployment before, in an update."""
    event: dict[str, Any] = {
        "RequestType": kind,
        "ServiceToken": TOKEN,
        "ResponseURL": url,
        "StackId": STACK_ID,
        "RequestId": f"5e5b6dd3-{kind}-{version}",
        "LogicalResourceId": "Registration",
        "ResourceType": "Custom::PolosRegistration",
        "ResourceProperties": {"ServiceToken": TOKEN, "ServiceTimeout": "120", "Version": VERSION.format(version)},
    }
    if kind != "Create":
        event["PhysicalResourceId"] = "polos-declarations"
    if before is not None:
        event["OldResourceProperties"] = {**event["ResourceProperties"], "Version": VERSION.format(before)}
    return event | more


class RegistrarContext:
    """Lambda's context of the registrar."""

    memory_limit_in_mb = 1024
    log_group_name = "shop-RegistrarLogs-1A"
    log_stream_name = "2030/01/01/[$LATEST]8f0d"

    def __init__(self, seconds: float = 110, memory: int = 1024) -> None:
        self.seconds, self.memory_limit_in_mb = seconds, memory

    def get_remaining_time_in_millis(self) -> int:
        return int(self.seconds * 1000)
