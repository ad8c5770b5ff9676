"""Parts around a handler: a worker and telemetry that note what they get, the queue that its messages come from."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from polos.aws.telemetry import Silent
from polos.ports import Message
from polos.testing.moto_account import MotoAccount


class Context:
    def get_remaining_time_in_millis(self) -> int:
        return 12_345


class FakeWorker:
    """Notes the messages that it is handed, and answers as it is told."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.remaining: list[float | None] = []
        self.answer: Callable[[Message], bool] = lambda _: True

    def handle(self, message: Message, remaining: Callable[[], float | None]) -> bool:
        self.messages.append(message)
        self.remaining.append(remaining())
        return self.answer(message)


class Noted(Silent):
    """Telemetry that keeps what it is told."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.executions: list[str | None] = []
        self.queues: set[str] = set()
        self.ages: list[float] = []

    @contextmanager
    def about(self, body: Mapping[str, Any]) -> Iterator[None]:
        self.executions.append(body.get("x"))
        yield

    def waited(self, queue: str, age: float) -> None:
        self.ages.append(age)

    def message(self, outcome: str, queue: str) -> None:
        self.counts[outcome] += 1
        self.queues.add(queue)


class Queue:
    """Sends to a queue of the stack, and receives from it as Lambda does."""

    def __init__(self, account: MotoAccount, name: str) -> None:
        self._account, self._name, self._url = account, name, account.queue_urls[name]

    def send(self, *bodies: object) -> None:
        for body in bodies:
            text = body if isinstance(body, str) else json.dumps(body)
            self._account.aws.sqs.send_message(QueueUrl=self._url, MessageBody=text)

    def receive(self) -> dict[str, Any]:
        got = self._account.aws.sqs.receive_message(
            QueueUrl=self._url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"]
        )
        return {
            "Records": [
                {
                    "messageId": one["MessageId"],
                    "receiptHandle": one["ReceiptHandle"],
                    "body": one["Body"],
                    "attributes": one["Attributes"],
                    "messageAttributes": {},
                    "md5OfBody": one["MD5OfBody"],
                    "eventSource": "aws:sqs",
                    "eventSourceARN": self._account.arn(self._name),
                    "awsRegion": "us-east-1",
                }
                for one in got.get("Messages", [])
            ]
        }

    def invisible_for(self) -> list[float]:
        now = self._account.clock.now().timestamp() * 1000
        return [(message.visible_at - now) / 1000 for message in self._account.queue(self._name)._messages]


def ids_of(event: dict[str, Any]) -> list[str]:
    return [record["messageId"] for record in event["Records"]]


def failed_ids(answer: dict[str, Any]) -> list[str]:
    return [one["itemIdentifier"] for one in answer["batchItemFailures"]]


WAKE = {"t": "wake", "x": "e1", "wf": "w"}
