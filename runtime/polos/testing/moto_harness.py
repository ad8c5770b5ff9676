"""The real Lambda handlers on the resources of the template, played by moto, in virtual time.

Plays the parts of Lambda's pollers (receive, invoke, delete what was handled) and of EventBridge Scheduler. Everything
else, from CloudFormation to the rule that brings events to their queue, is moto's.
"""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from polos.aws import records
from polos.aws.backend import aws_backend
from polos.aws.default_bus import EventBridgeDefaultBus
from polos.aws.entry import Handler, Service, handler_of
from polos.aws.table import DynamoTable
from polos.aws.telemetry import Silent
from polos.aws.visibility import Visibility
from polos.core import items
from polos.core.conditions import Item
from polos.core.items import Key
from polos.engine import native, retention, schedules
from polos.engine.commands import millis, moment
from polos.engine.engine import Engine
from polos.errors import InvalidPayloadError
from polos.testing.harness import Making, Upcoming, VirtualClock
from polos.testing.moto_account import MotoAccount
from polos.testing.moto_network import MotoNetwork
from polos.testing.moto_schedules import MotoSchedules
from polos.testing.moto_template import REGION
from polos.testing.wire import message_line
from polos.workflow import Workflow

_LANES = ("WakeQueue", "EventsQueue", "NativeEventsQueue", "StartQueue", "DeadLetters")
_DEAD = ("DeadLetters", "KeptLetters")
_MAINTENANCE = timedelta(days=30)
"""How often the maintenance comes. Every six hours, as in the template, would keep no more and make years slow."""


class _Context:
    """Lambda's context object, as far as the handlers use it."""

    def __init__(self, clock: VirtualClock, seconds: float) -> None:
        self._clock, self._end = clock, clock.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._end - self._clock.monotonic()) * 1000))


class MotoDelivery:
    """One received message on its way through a Lambda function. `record` is as Lambda hands it over."""

    def __init__(self, harness: MotoHarness, queue: str, received: Mapping[str, Any]) -> None:
        self._harness, self._queue = harness, queue
        self.record: dict[str, Any] = {
            "messageId": received["MessageId"],
            "receiptHandle": received["ReceiptHandle"],
            "body": received["Body"],
            "attributes": {**received.get("Attributes", {}), **harness.account.given_up(queue, received["MessageId"])},
            "messageAttributes": {},
            "md5OfBody": received["MD5OfBody"],
            "eventSource": "aws:sqs",
            "eventSourceARN": harness.account.arn(queue),
            "awsRegion": REGION,
        }
        self.line = _line(self.record["body"])
        self._is_copy = False

    def copy(self, resent: bool) -> MotoDelivery:
        again = copy.copy(self)
        again._is_copy = True
        if resent:
            again.record = {**self.record, "messageId": f"{self.record['messageId']}-again"}
        return again

    def hide(self, seconds: float) -> None:
        self._harness.account.aws.sqs.change_message_visibility(
            QueueUrl=self._harness.account.queue_urls[self._queue],
            ReceiptHandle=self.record["receiptHandle"],
            VisibilityTimeout=int(seconds),
        )

    def run(self) -> None:
        """Invoke the function. A message that it does not report as failed is deleted."""
        harness = self._harness
        context = _Context(harness.clock, harness.invocation_seconds)
        answer: Any = harness.handlers[self._queue]({"Records": [self.record]}, context)
        failed = {one["itemIdentifier"] for one in answer["batchItemFailures"]}
        if self.record["messageId"] not in failed and not self._is_copy:
            account = harness.account
            account.count("DeleteMessage")
            url = account.queue_urls[self._queue]
            account.aws.sqs.delete_message(QueueUrl=url, ReceiptHandle=self.record["receiptHandle"])


class MotoHarness:
    """The Harness of `Environment(backend="moto")`. The first in a process takes some 2 s, the others 0.1 s."""

    def __init__(
        self,
        workflows: Callable[[], Mapping[str, Workflow[Any, Any]]],
        start: datetime,
        invocation_seconds: float,
        making: Making | None = None,
    ) -> None:
        making = making or Making()
        self.clock = making.clock(start)
        self.requests: Counter[str] = Counter()
        self.invocation_seconds = invocation_seconds
        self.account = MotoAccount(self.clock, self.requests)
        settings, clients = self.account.settings, self.account.runtime
        backend = aws_backend(settings, self.clock, clients=clients, limits=making.limits(settings.limits()))
        self.network = MotoNetwork(self.account)
        self._unseen = DynamoTable(self.account.aws.dynamodb, settings.table, self.clock)
        uncounted = aws_backend(settings, self.clock, clients=self.account.aws, limits=backend.limits)
        self._keeper = Engine(uncounted, workflows=workflows)
        self.maintained, self._maintained_at = True, start
        self.engine = making.engine(backend, workflows)
        service = Service(self.engine, settings, Visibility(clients, settings), Silent())
        service.worker = making.worker(self.engine)
        self.handlers: dict[str, Handler] = {
            source.queue: handler_of(service, source.handler.split(".")[-2]) for source in self.account.sources
        }
        self._queues = sorted(self.handlers, key=_LANES.index)
        self._schedules = MotoSchedules(self.account)
        schedules.reconcile(backend.recurrences, schedules.declared(workflows().values()))
        native.reconcile(backend.default_bus, native.declared(workflows().values()))
        self._schedules.next_due()  # schedules begin now
        self.engine.controls.refresh()
        self.requests.clear()

    def take_due(self) -> MotoDelivery | None:
        self._schedules.fire_due()
        for queue in self._queues:
            if self._has_visible(queue):
                self.account.count("ReceiveMessage")
                answer = self.account.aws.sqs.receive_message(
                    QueueUrl=self.account.queue_urls[queue],
                    MaxNumberOfMessages=1,
                    MessageSystemAttributeNames=["All"],
                )
                for received in answer.get("Messages", []):
                    return MotoDelivery(self, queue, received)
        return None

    def next_due(self) -> datetime | None:
        now = millis(self.clock.now())
        dues: list[int] = []
        with self.account.lock:
            for queue in self._queues:
                for message in self.account.queue(queue)._messages:
                    dues.append(int(max(message.visible_at, message.delayed_until)))
        scheduled = self._schedules.next_due()
        if scheduled is not None:
            dues.append(millis(scheduled))
        later = [due for due in dues if due > now]
        return moment(min(later)) if later else None

    def move(self, to: datetime) -> None:
        while self.maintained and (turn := self._maintained_at + _MAINTENANCE) <= to:
            self.clock.jump(turn)
            self._maintain()
            self._maintained_at = turn
        self.clock.jump(to)

    def upcoming(self) -> list[Upcoming]:
        return self._schedules.upcoming()

    def put_event(self, source: str, detail_type: str, detail: str, event_id: str | None) -> str:
        with self.account.next_event_id(event_id):
            return EventBridgeDefaultBus(self.account.aws, self.account.settings).put(source, detail_type, detail)

    def pending(self) -> int:
        """How many messages wait in the queues of the functions, delayed and received ones included."""
        return sum(len(self.account.queue(queue)._messages) for queue in self._queues)

    def dead_letters(self) -> list[str]:
        """The bodies of the messages that their queue has given up, those that are kept for a person among them."""
        return [message.body for name in _DEAD for message in self.account.queue(name)._messages]

    def peek(self, key: Key) -> Item | None:
        return self._unseen.get(key)

    def close(self) -> None:
        self.account.close()

    def _maintain(self) -> None:
        """What the maintenance does, but for how it finds what is open: through an index of many months."""
        retention.sweep_gathered(self._keeper, lambda: math.inf)
        scanned = self.account.aws.dynamodb.get_paginator("scan").paginate(
            TableName=self.account.settings.table,
            FilterExpression="sk = :execution",
            ExpressionAttributeValues={":execution": {"S": items.execution("").sk}},
            ProjectionExpression="pk",
        )
        for found in [one["pk"]["S"] for page in scanned for one in page["Items"]]:
            retention.renew_if_due(self._keeper, self._unseen.get(items.execution(found)) or {})

    def _has_visible(self, queue: str) -> bool:
        with self.account.lock:
            return bool(self.account.queue(queue).messages)


def _line(body: str) -> str:
    try:
        return message_line(records.message_of(body, None))
    except InvalidPayloadError:
        return "unreadable"
