"""The queue that nothing reads: messages that only a person can judge, each with the reason as an attribute.

A body is kept as it came, whatever its size; the attributes get what room it leaves. Two of one message may be kept.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Final

from polos.aws import faults
from polos.aws.clients import Clients
from polos.aws.records import Record
from polos.aws.settings import Settings
from polos.aws.wire import plain

_log = logging.getLogger("polos.aws")

LARGEST: Final = 1_048_576
"""Bytes of a message, with the names, types and values of its attributes (SQS API reference, "SendMessage", 2025)."""

_LONGEST_REASON: Final = 1000
_TYPE: Final = "String"


class KeptLetters:
    """Thread-safe."""

    def __init__(self, settings: Settings, clients: Clients) -> None:
        self._settings, self._clients = settings, clients

    def keep(self, record: Record, reason: str) -> None:
        """1 send. Raises `BackendError`."""
        source = self._settings.queue_of(record.dead_from or record.queue_arn)
        if source == "dead":
            source = "other"
        said = {"source": source, "message_id": record.id, "reason": reason[:_LONGEST_REASON]}
        sent = faults.call(
            self._clients.sqs.send_message,
            QueueUrl=self._settings.kept_letters_url,
            MessageBody=record.body,
            MessageAttributes={
                name: {"DataType": _TYPE, "StringValue": value}
                for name, value in _that_fit(said, LARGEST - len(record.body.encode()))
            },
        )
        _log.error("message %s from %s is kept for a person, as %s: %s", record.id, source, sent["MessageId"], reason)


def _that_fit(said: dict[str, str], room: int) -> Iterator[tuple[str, str]]:
    """The attributes for which there is room; a reason is cut. What is left out stands in the log."""
    for name, value in said.items():
        text, left = plain(value).encode(), room - len(name) - len(_TYPE)
        if name == "reason":
            text = text[: max(0, left)].decode(errors="ignore").encode()
        if 0 < len(text) <= left:
            yield name, text.decode()
            room = left - len(text)
