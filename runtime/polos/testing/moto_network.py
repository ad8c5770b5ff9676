"""Requests that go wrong between botocore and moto, so that botocore's own retries are part of what is tested."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectionClosedError

from polos.testing.moto_account import MotoAccount

T = TypeVar("T")
_STATUS = {"ThrottlingException": 400, "InternalServerError": 500}


class MotoNetwork:
    """The Network of an account. What is asked for holds for the requests that the calling thread makes meanwhile."""

    def __init__(self, account: MotoAccount) -> None:
        self._here = threading.local()
        account.between = self._between

    def refuse(self, act: Callable[[], T], code: str, times: int) -> T:
        self._here.refusals = [code] * times
        try:
            return act()
        finally:
            self._here.refusals = []

    def lose_reply(self, act: Callable[[], T]) -> T:
        self._here.lost = 1
        try:
            return act()
        finally:
            self._here.lost = 0

    def _between(self, request: Any, answer: Callable[[], Any]) -> Any:
        """One attempt of botocore's."""
        refusals: list[str] = getattr(self._here, "refusals", [])
        if refusals:
            return _refusal(request, refusals.pop())
        answered = answer()
        if getattr(self._here, "lost", 0):
            self._here.lost -= 1
            raise ConnectionClosedError(endpoint_url=request.url)
        return answered


class _Raw:
    """The body of an answer, as botocore reads it."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, **_: Any) -> Any:
        yield self._content


def _refusal(request: Any, code: str) -> AWSResponse:
    """Errors in the JSON protocols of DynamoDB, SQS and EventBridge, and in the REST ones of Scheduler and S3."""
    target = request.headers.get("X-Amz-Target")
    if b".s3." in request.url.encode() and target is None:
        headers = {"content-type": "application/xml"}
        content = f"<Error><Code>{code}</Code><Message>refused by the test</Message></Error>".encode()
    else:
        headers = {"content-type": "application/x-amz-json-1.0", "x-amzn-errortype": code}
        content = f'{{"__type":"{code}","message":"refused by the test"}}'.encode()
    return AWSResponse(request.url, _STATUS[code], headers, _Raw(content))
