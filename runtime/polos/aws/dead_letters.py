"""The handler of the dead-letter queue: reads, asks `engine.dead_letters`, and sends on or keeps.

Three ways lead here: a queue gave a message up after 100 receipts; EventBridge or Scheduler could not deliver in a day;
or somebody sent something. Only the first is marked by SQS itself, with the ARN of the queue that it came from
(DeadLetterQueueSourceArn, API reference, "ReceiveMessage"; a sender cannot set it). A message goes back to just that
queue, so it can do nothing there that its sender could not have had done. Without the mark, the table must confirm it.

Every step may be done twice: a message that was sent on and not deleted is sent on again.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from polos.aws import faults, records
from polos.aws.clients import Clients
from polos.aws.kept_letters import LARGEST, KeptLetters
from polos.aws.records import Record
from polos.aws.settings import Settings
from polos.aws.wire import to_json
from polos.engine import dead_letters
from polos.engine.dead_letters import Again, Done, Keep, Letter
from polos.engine.worker import Worker
from polos.errors import InvalidPayloadError

_log = logging.getLogger("polos.aws")

ROUNDS: Final = "rd"
PROGRESS: Final = "rp"
_ROLES: Final = {"start": "work", "wake": "work", "events": "events", "native": "events"}
_OLD: Final = 12 * 86_400_000


class DeadLetters:
    """Thread-safe."""

    def __init__(self, worker: Worker, settings: Settings, clients: Clients, kept: KeptLetters) -> None:
        self._worker, self._settings, self._clients, self._kept = worker, settings, clients, kept

    def handle(self, record: Record) -> None:
        """At most 1 read and 2 writes of the table, and 1 send. What it raises, it is done again for.

        But not for ever: a queue drops a message 14 days after it was sent (SQS Developer Guide, "Setting-up
        dead-letter queue retention": the time is that of the queue before), so one that old is kept instead.
        """
        try:
            self._handle(record)
        except Exception as error:
            now = self._worker.engine.now()
            if record.sent is None or now - record.sent < _OLD:
                raise
            self._kept.keep(record, f"It could not be handled: {type(error).__name__}: {error}")

    def _handle(self, record: Record) -> None:
        source = self._settings.queue_of(record.dead_from) if record.dead_from else "other"
        try:
            raw = records.read(record.body)
            body = records.message_of(record.body, _ROLES.get(source))
            self._worker.check(body)
        except InvalidPayloadError as error:
            self._kept.keep(record, str(error))
            return
        letter = Letter(body, source in _ROLES, _number(raw, ROUNDS), _number(raw, PROGRESS))
        match dead_letters.judge(self._worker.engine, letter):
            case Again() as again:
                self._send_back(record, raw, again)
            case Done(what):
                _log.warning("the dead message %s (%s): %s", record.id, letter.kind, what)
            case Keep(reason):
                self._kept.keep(record, reason)

    def _send_back(self, record: Record, raw: dict[str, Any], again: Again) -> None:
        text = to_json({**raw, ROUNDS: again.rounds, PROGRESS: again.progress})
        if len(text.encode()) > LARGEST:
            self._kept.keep(record, "With the count of its rounds it is too large to be sent back to its queue.")
            return
        url = self._settings.queue_url(record.dead_from)
        faults.call(self._clients.sqs.send_message, QueueUrl=url, MessageBody=text, DelaySeconds=int(again.delay))
        _log.warning("the dead message %s (%s) is sent anew, round %d", record.id, raw.get("t"), again.rounds)


def _number(raw: dict[str, Any], name: str) -> int:
    value = raw.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0
