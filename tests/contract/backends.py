"""The backends under contract, each as a test sees it: the ports, virtual time, and what a poller does with messages.

`Side` is one process's view. `peer()` is another view of the same data: another connection to the same file, where
that is possible.
"""

from __future__ import annotations

import abc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from polos.aws.backend import aws_backend
from polos.aws.records import Record, message_of
from polos.aws.visibility import Visibility
from polos.clock import SystemClock
from polos.local.backend import LocalBackend, local_backend
from polos.ports import Backend, Message
from polos.testing.harness import EPOCH, VirtualClock
from polos.testing.moto_account import MotoAccount
from polos.testing.moto_schedules import MotoSchedules

WORKFLOWS = ("flow", "other")
"""The workflows that this process has code for."""

_LANES = ("WakeQueue", "EventsQueue", "NativeEventsQueue", "StartQueue")


@dataclass(frozen=True)
class Held:
    """A received message; `done` deletes it."""

    message: Message
    done: Callable[[], None]

    @property
    def body(self) -> dict[str, Any]:
        return dict(self.message.body)


class Side(abc.ABC):
    """One process on a backend."""

    def __init__(self, clock: VirtualClock, backend: Backend) -> None:
        self.clock, self.backend = clock, backend
        self.table, self.inbox, self.timers = backend.table, backend.inbox, backend.timers
        self.topics, self.payloads, self.recurrences = backend.topics, backend.payloads, backend.recurrences
        self.default_bus = backend.default_bus

    @abc.abstractmethod
    def receive(self) -> Held | None:
        """One message that is due, hidden from others for a while."""

    def peer(self) -> Side:
        return self

    @abc.abstractmethod
    def close(self) -> None:
        """Drop it and its peers."""

    def receive_all(self, *, done: bool = True) -> list[Held]:
        """Everything that is due."""
        found = list(iter(self.receive, None))
        for one in found:
            if done:
                one.done()
        return found

    def bodies(self) -> list[dict[str, Any]]:
        """What is due, in some order, each handled."""
        return [one.body for one in self.receive_all()]

    def advance(self, **span: float) -> None:
        self.clock.advance(timedelta(**span).total_seconds())


class LocalSide(Side):
    def __init__(self, clock: VirtualClock, path: str | Path) -> None:
        self.local: LocalBackend = local_backend(path, clock=clock)
        self._path, self._peers = path, list[LocalSide]()
        super().__init__(clock, self.local.backend)

    def receive(self) -> Held | None:
        self.local.recurrences.fire_due(WORKFLOWS)
        found = self.local.inbox.receive(WORKFLOWS)
        if found is None:
            return None
        return Held(found.message, lambda: self.local.inbox.delete(found.row))

    def peer(self) -> Side:
        if self._path == ":memory:":
            return self
        self._peers.append(LocalSide(self.clock, self._path))
        return self._peers[-1]

    def close(self) -> None:
        for one in (*self._peers, self):
            one.local.close()


class AwsSide(Side):
    """Plays Lambda's poller on the queues, and EventBridge Scheduler."""

    def __init__(self, clock: VirtualClock) -> None:
        self.account = MotoAccount(clock, Counter())
        settings, clients = self.account.settings, self.account.runtime
        super().__init__(clock, aws_backend(settings, clock, clients=clients))
        self._visibility = Visibility(clients, settings)
        self._schedules = MotoSchedules(self.account)

    def receive(self) -> Held | None:
        self._schedules.fire_due()
        sqs: Any = self.account.aws.sqs
        for name in _LANES:
            url = self.account.queue_urls[name]
            answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=1, MessageSystemAttributeNames=["All"])
            for got in answer.get("Messages", []):
                receipt = got["ReceiptHandle"]
                count = int(got["Attributes"]["ApproximateReceiveCount"])
                record = Record(got["MessageId"], receipt, got["Body"], count, self.account.arn(name))

                def extend(seconds: float, record: Record = record) -> None:
                    self._visibility.extend(record, seconds)

                def done(url: str = url, receipt: str = receipt) -> None:
                    sqs.delete_message(QueueUrl=url, ReceiptHandle=receipt)

                return Held(Message(record.id, message_of(record.body, None), count, extend), done)
        return None

    def close(self) -> None:
        self.account.close()


@contextmanager
def opened(backend: str, folder: Path) -> Iterator[Side]:
    """The backend of this name, empty."""
    clock = VirtualClock(EPOCH, SystemClock())
    made: Side
    if backend == "aws":
        made = AwsSide(clock)
    else:
        made = LocalSide(clock, folder / "contract.db" if backend == "file" else ":memory:")
    try:
        yield made
    finally:
        made.close()


BACKENDS = ("file", "memory", "aws")
