"""What the engine asks of a backend: a table, an inbox, timers, topics, schedules, payloads, a bus, a clock.

A backend translates and decides nothing: no port knows what a workflow is. Every call is blocking and may be made from
any thread. A call either took effect, or raised; one that raised anything but `ConditionFailed` may have taken effect.
Cost is given in requests to AWS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from polos.core.conditions import Change, Condition, Item
from polos.core.items import Key
from polos.limits import Limits


class ConditionFailed(Exception):
    """The condition of a write did not hold; nothing was written. `item` is what is stored (None: nothing)."""

    def __init__(self, item: Item | None) -> None:
        self.item = item
        super().__init__("the condition of a write did not hold")


class Table(Protocol):
    """Single-item atomic writes and consistent reads, as in Amazon DynamoDB."""

    def get(self, key: Key) -> Item | None:
        """Consistent. 1 request."""
        ...

    def get_many(self, keys: Sequence[Key]) -> list[Item]:
        """Consistent, in no order, missing ones left out. 1 request per 100 keys."""
        ...

    def put(self, item: Item, condition: Condition | None = None) -> None:
        """Write the whole item if the condition holds of what is stored, atomically. 1 request.

        Raises `ConditionFailed` with the stored item. A reply that was lost and asked for again may come back as
        `ConditionFailed` against one's own write: compare the writer token.
        """
        ...

    def update(self, key: Key, change: Change, condition: Condition | None = None) -> Item:
        """Change the item, or create it, if the condition holds; the item as it is after. 1 request."""
        ...

    def delete(self, key: Key, condition: Condition | None = None) -> None:
        """Remove the item if the condition holds; a missing item is no error. 1 request."""
        ...

    def query(
        self,
        pk: str,
        *,
        prefix: str = "",
        after: str = "",
        limit: int | None = None,
        reverse: bool = False,
    ) -> list[Item]:
        """The items of a partition whose sk begins with `prefix` and is > `after`, in sk order. Consistent.

        1 request per MB read. With `reverse` the order is descending and `after` is not used.
        """
        ...

    def renew(self, execution_id: str) -> list[Item]:
        """Keep all that an execution has stored, but for the execution item, for `Limits.horizon` from now; the items.

        1 request per MB read, and 1 an item. A backend that removes whole executions has nothing to do.
        """
        ...

    def by_start(
        self, bucket: str, *, since: str = "", until: str = "~", limit: int = 100, reverse: bool = True
    ) -> list[Item]:
        """Execution items of one index bucket by start time: pk, sk, workflow and sort key. NOT consistent.

        The sort keys are > `since` and < `until`, so that a page can go on from the last line of the one before.
        """
        ...


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to send. `lane` is "start" for new executions and "wake" for everything else.

    `delay` is in seconds and at most 900, as for Amazon SQS (SQS quotas, "Message timers").
    """

    body: Mapping[str, Any]
    delay: float = 0.0
    lane: str = "wake"


@dataclass(frozen=True, slots=True)
class Message:
    """One message as received. `extend(seconds)` moves the moment at which it is delivered again unless deleted.

    `sent` is when it was sent (ms), where the backend says.
    """

    id: str
    body: Mapping[str, Any]
    received: int
    extend: Callable[[float], None]
    sent: int | None = None


class Inbox(Protocol):
    """At-least-once delivery, in no order, of messages that are handed again until their handler succeeds."""

    def send(self, messages: Sequence[Outgoing]) -> None:
        """Send all; raises if one of them was not taken. 1 request per 10."""
        ...


class Timers(Protocol):
    """Messages that arrive at a time more than 15 minutes away."""

    def schedule(self, name: str, due: datetime, body: Mapping[str, Any]) -> None:
        """Deliver `body` into the inbox at `due` or up to a minute later. A name that exists is left as it is.

        Idempotent by `name` (any string; the adapter hashes it). 1 request.
        """
        ...


@dataclass(frozen=True, slots=True)
class Event:
    """A message on a topic. `sequence` orders events by publisher time: milliseconds * 2**20 + a counter.

    `data` is encoded (`str`, or `bytes` if compressed) or, if `pointer` is set, stored under that key.
    """

    id: str
    topic: str
    sequence: int
    event_type: str | None
    data: str | bytes | None
    pointer: str | None = None


class Topics(Protocol):
    """The way of an event from a publisher to the handler of events."""

    def publish(self, events: Sequence[Event]) -> None:
        """Hand over all; raises if one of them was not taken. 1 request per 10."""
        ...


class Payloads(Protocol):
    """Large values beside the table."""

    def put(self, key: str, data: bytes) -> None:
        """Store; the same key always holds the same bytes. 1 request."""
        ...

    def get(self, key: str) -> bytes:
        """Raises `KeyError` if there is none. 1 request."""
        ...

    def renew(self, key: str) -> None:
        """Keep it for `Limits.horizon` from now. Raises `KeyError` if there is none. At most 1 request."""
        ...


class PayloadCodec(Protocol):
    """What an application does to the bytes of every value before they are stored: its encryption, say.

    Called from several threads at once. What it raises is not the execution's failure: the message comes again.
    `encode` need not give the same bytes twice. A codec that changes keys puts the key's name into what it returns.
    """

    def encode(self, data: bytes) -> bytes: ...

    def decode(self, data: bytes) -> bytes:
        """What `encode` was given."""
        ...


@dataclass(frozen=True, slots=True)
class Recurring:
    """A recurring schedule: five-field cron, IANA time zone, one per workflow and key.

    `declared` says that it comes from the code, and goes when the code no longer declares it. `overlap` says what a
    tick does that finds the execution before it open: "skip" or "allow".
    """

    workflow_id: str
    key: str
    cron: str
    timezone: str
    paused: bool = False
    declared: bool = False
    overlap: str = "skip"


class Recurrences(Protocol):
    """Recurring ticks: for each nominal time one message as `engine.commands.tick` makes it, or more."""

    def apply(self, schedule: Recurring) -> None:
        """Create it or replace it. 1 or 2 requests."""
        ...

    def remove(self, workflow_id: str, key: str) -> None:
        """Remove it; a missing one is no error. 1 or 2 requests."""
        ...

    def list(self) -> list[Recurring]: ...


@dataclass(frozen=True, slots=True)
class PatternRule:
    """Which events of the default bus trigger a workflow: a valid event pattern as JSON (`core.patterns`)."""

    workflow_id: str
    pattern: str


class DefaultBus(Protocol):
    """The account's default event bus, on which AWS services put events; one rule a workflow that is triggered by some.

    For each event that matches a rule one message `{"t": "native", "wf", "event"}` or more, with the whole envelope.
    """

    def apply(self, rule: PatternRule) -> None:
        """Create it or replace it. Repeatable. At most 4 requests. Raises `BackendError`, also for one too many."""
        ...

    def remove(self, workflow_id: str) -> None:
        """Remove it; a missing one is no error. Repeatable. 3 requests."""
        ...

    def list(self) -> list[PatternRule]:
        """The rules of this backend; one that is half made has the pattern "". 1 request per 100."""
        ...

    def put(self, source: str, detail_type: str, detail: str, event_id: str | None = None) -> str:
        """Put an event with this detail (a JSON object); its id. 1 request.

        Where the bus makes ids itself, `event_id` raises `InvalidPayloadError`.
        """
        ...


class Notice(StrEnum):
    """What the engine tells of its work. Each is told by the write that made it true, so once, or seldom not at all."""

    STARTED = "ExecutionsStarted"
    COMPLETED = "ExecutionsCompleted"
    FAILED = "ExecutionsFailed"
    CANCELLED = "ExecutionsCancelled"
    TIMED_OUT = "ExecutionsTimedOut"
    CRASH_LOOPS = "CrashLoops"
    """Executions that failed because their invocations kept dying; they count as failed, too."""
    DEATHS = "InvocationDeaths"
    """Invocations that ended without saying so, found by their successors."""
    STEP_RETRIES = "StepRetries"
    WAKE_TO_RUN = "WakeToRun"
    """Milliseconds from the moment at which an execution could move to the moment at which somebody owned it."""


class Telemetry(Protocol):
    """What is told of the work, for metrics and logs. Nothing depends on it; it makes no request and never raises."""

    def note(self, notice: Notice, workflow_id: str, value: float = 1.0) -> None:
        """Something happened, or was measured. From any thread."""
        ...

    def owns(self, workflow_id: str, epoch: int) -> None:
        """This thread, and what it starts, works under this epoch from now on."""
        ...


class NoTelemetry:
    """Nobody is told."""

    def note(self, notice: Notice, workflow_id: str, value: float = 1.0) -> None:
        return

    def owns(self, workflow_id: str, epoch: int) -> None:
        return


class Lifecycle(Protocol):
    """Telling other programs how executions begin and end, without their payloads."""

    def tell(self, about: Mapping[str, Any]) -> None:
        """Publish one status. Repeatable: `about["id"]` is the same whenever the same status is told. 1 request."""
        ...


class Clock(Protocol):
    """Time. Wall time goes into records; monotonic time measures leases and deadlines."""

    def now(self) -> datetime:
        """Aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds from some point, never going back."""
        ...

    def real_delay(self, seconds: float) -> float:
        """For how long to really wait in process for a backoff of less than a second (0 where time is virtual)."""
        ...


@dataclass(frozen=True)
class Backend:
    """One set of adapters."""

    table: Table
    inbox: Inbox
    timers: Timers
    topics: Topics
    payloads: Payloads
    recurrences: Recurrences
    default_bus: DefaultBus
    clock: Clock
    limits: Limits = field(default_factory=Limits)
    codec: PayloadCodec | None = None
    telemetry: Telemetry = field(default_factory=NoTelemetry)
    lifecycle: Lifecycle | None = None
