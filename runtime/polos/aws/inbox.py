"""SQS as the Inbox port: one queue for starts, one for everything else.

Must not lose an entry: a batch that SQS took in part is sent again in part (API reference, "SendMessageBatch": a
request that succeeds may hold entries that failed).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from polos.aws import faults
from polos.aws.clients import Clients
from polos.aws.wire import requests, to_json
from polos.errors import BackendError
from polos.ports import Clock, Outgoing

_LONGEST_DELAY = 900


class SqsInbox:
    """1 request per 10 messages of a lane (or 250 KB). Thread-safe."""

    def __init__(self, clients: Clients, *, start_url: str, wake_url: str, clock: Clock) -> None:
        self._clients, self._clock = clients, clock
        self._urls = {"start": start_url, "wake": wake_url}

    def send(self, messages: Sequence[Outgoing]) -> None:
        lanes: dict[str, list[dict[str, Any]]] = {}
        for message in messages:
            lanes.setdefault(message.lane, []).append(_entry(message))
        for lane, entries in lanes.items():
            for group in requests(entries, lambda entry: len(entry["MessageBody"].encode())):
                self._send(self._urls[lane], group)

    def _send(self, url: str, entries: list[dict[str, Any]]) -> None:
        if len(entries) == 1:
            faults.call(self._clients.sqs.send_message, QueueUrl=url, **entries[0])
            return
        left = {str(index): entry for index, entry in enumerate(entries)}
        for attempt in range(faults.ATTEMPTS):
            if attempt:
                faults.pause(self._clock, attempt)
            batch = [{"Id": name, **entry} for name, entry in left.items()]
            answer = faults.call(self._clients.sqs.send_message_batch, QueueUrl=url, Entries=batch)
            failed = answer.get("Failed", [])
            for one in failed:
                if one.get("SenderFault"):
                    raise BackendError(f"SQS refused a message ({one.get('Code')}: {one.get('Message')}).")
            left = {one["Id"]: left[one["Id"]] for one in failed}
            if not left:
                return
        raise BackendError(f"SQS did not take {len(left)} of {len(entries)} messages; it is tried again later.")


def _entry(message: Outgoing) -> dict[str, Any]:
    entry: dict[str, Any] = {"MessageBody": to_json(message.body)}
    if message.delay > 0:
        entry["DelaySeconds"] = min(_LONGEST_DELAY, math.ceil(message.delay))
    return entry
