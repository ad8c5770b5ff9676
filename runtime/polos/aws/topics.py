"""An EventBridge bus as the Topics port.

Must not lose an event: PutEvents succeeds even where it took only some entries (API reference, "PutEvents",
FailedEntryCount), so those that failed are put again. The bus's one rule brings events to the events queue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from polos.aws import faults
from polos.aws.clients import Clients
from polos.aws.wire import requests, to_json
from polos.engine import commands
from polos.errors import BackendError, PayloadTooLargeError
from polos.ports import Clock, Event

SOURCE: Final = "polos"
DETAIL_TYPE: Final = "polos.event"

_LARGEST: Final = 256 * 1024
_OVERHEAD: Final = len(SOURCE) + len(DETAIL_TYPE)
_OURS_TO_RETRY: Final = frozenset({"InternalFailure", "InternalException", "ThrottlingException", "LimitExceeded"})


class EventBridgeTopics:
    """1 request per 10 events (or 250 KB). Thread-safe."""

    def __init__(self, clients: Clients, bus: str, clock: Clock) -> None:
        self._clients, self._bus, self._clock = clients, bus, clock

    def publish(self, events: Sequence[Event]) -> None:
        """Raises `PayloadTooLargeError`, before anything is put, for an event over 256 KB as EventBridge counts it.

        Such an event cannot come from a value within the inline limit ("Calculating PutEvents event entry size").
        """
        entries = [self._entry(event) for event in events]
        for event, entry in zip(events, entries, strict=True):
            if _size(entry) > _LARGEST:
                raise PayloadTooLargeError(f"The event {event.id!r} on topic {event.topic!r}", _size(entry), _LARGEST)
        for group in requests(entries, _size):
            self.put(group)

    def _entry(self, event: Event) -> dict[str, Any]:
        detail = to_json(commands.event(event))
        return {"Source": SOURCE, "DetailType": DETAIL_TYPE, "Detail": detail, "EventBusName": self._bus}

    def put(self, entries: list[dict[str, Any]]) -> None:
        """Put entries that fit into one request. Raises `BackendError` if one of them was not taken."""
        left = entries
        for attempt in range(faults.ATTEMPTS):
            if attempt:
                faults.pause(self._clock, attempt)
            answer = faults.call(self._clients.events.put_events, Entries=left)
            if not answer.get("FailedEntryCount"):
                return
            failed = [
                (entry, result)
                for entry, result in zip(left, answer["Entries"], strict=True)
                if result.get("ErrorCode")
            ]
            for _, result in failed:
                if result["ErrorCode"] not in _OURS_TO_RETRY:
                    raise refused(result)
            left = [entry for entry, _ in failed]
        raise BackendError(f"EventBridge did not take {len(left)} of {len(entries)} events; it is tried again later.")


def refused(result: Mapping[str, Any]) -> BackendError:
    """The error for an entry that EventBridge did not take."""
    return BackendError(f"EventBridge refused an event ({result['ErrorCode']}: {result.get('ErrorMessage')}).")


def _size(entry: dict[str, Any]) -> int:
    return _OVERHEAD + len(entry["Detail"].encode())
