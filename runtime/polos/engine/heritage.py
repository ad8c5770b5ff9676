"""Which events count for the waits of an execution: not those that it, or one before it in its chain, has taken.

A wait takes the oldest event of its topic, or of one type on it. So what is older than the newest that was taken is
gone, of that type or of all, but for what comes late; a successor is told from when on events count, by topic and by
type, and which of the later ones are taken. Laws: L9, L10.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from polos.core import items
from polos.core.conditions import Item, Value
from polos.core.operations import AwaitEvent

if TYPE_CHECKING:
    from polos.engine.turn import Turn

_LATE: Final = 15 * 60 * 1000
_KEPT: Final = 500
_SKEW: Final = 60_000
_UNTAKEN: Final = 20


@dataclass(slots=True)
class _Taken:
    """From which sequence on events count, and which of those are taken, with their times (ms)."""

    horizon: int = 0
    events: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])

    @classmethod
    def of(cls, given: tuple[int, list[tuple[int, str]]]) -> _Taken:
        horizon, events = given
        return cls(horizon, [(at, one) for at, one in events])

    def add(self, events: list[tuple[int, str]]) -> None:
        self.horizon = max(self.horizon, (max(at for at, _ in events) - _LATE) << 20)
        self.events += events

    def told(self, horizon: int) -> tuple[int, list[tuple[int, str]]]:
        return self.horizon, sorted((at, one) for at, one in self.events if at >= max(self.horizon, horizon) >> 20)


class Heritage:
    """What has been taken, as one turn knows it. In its start an execution says what those before it in a chain left.

    `topics` is for waits that named no type; `typed` for those that did, by topic and type.
    """

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        given: Mapping[str, Any] = turn.options.get("ev") or {}
        self._since: int | None = given.get("since")
        self._topics: Mapping[str, Any] = given.get("topics") or {}
        self._typed: Mapping[str, Mapping[str, Any]] = given.get("typed") or {}
        self._trigger: Mapping[str, Any] = turn.options.get("trigger") or {}

    def since(self, topic: str) -> int:
        """The sequence from which on events on a topic count: some clocks are behind that of the start."""
        if topic in self._topics:
            horizon: int = self._topics[topic][0]
        else:
            skew = int(self._turn.engine.limits.event_skew * 1000) << 20
            horizon = max(0, self._start() - skew)
        if topic == self._trigger.get("topic") and "last" in self._trigger:
            horizon = max(horizon, self._trigger["last"] + 1)
        return horizon

    def since_by_type(self, topic: str) -> dict[str, int]:
        """The same for the types that only some waits asked for, where it is later."""
        return {kind: horizon for kind, (horizon, _) in self._typed.get(topic, {}).items()}

    def taken(self, topic: str) -> set[str]:
        """The ids of the events on a topic that no wait may take any more.

        What triggered the execution is among them: it may be no older than the start.
        """
        before = [self._topics.get(topic, (0, ())), *self._typed.get(topic, {}).values()]
        own = {items.text(record, items.EVENT_ID) for record in self._takers() if record.get(items.TOPIC) == topic}
        return own.union((one for _, taken in before for _, one in taken), self._triggers())

    def told(self) -> dict[str, Any]:
        """What a successor must know of events, as its start says it.

        15 minutes are allowed for late ones, less where more than 500 were taken on a topic in that time.
        """
        topics = {topic: _Taken.of(one) for topic, one in self._topics.items()}
        typed = {topic: {kind: _Taken.of(one) for kind, one in kinds.items()} for topic, kinds in self._typed.items()}
        triggers, topic = self._triggers(), self._trigger.get("topic")
        if triggers and isinstance(topic, str):  # published about when this one started, by another clock
            latest = items.number(self._turn.history.execution, items.CREATED) + _SKEW
            topics[topic] = _Taken(self.since(topic), [(latest, one) for one in triggers])
        for (topic, kind), events in self._by_wait().items():
            group = topics.setdefault(topic, _Taken(self.since(topic)))
            if kind is not None:
                group = typed.setdefault(topic, {}).setdefault(kind, _Taken())
            group.add(events)
        for topic, group in topics.items():
            _drop_oldest([group, *typed.get(topic, {}).values()])
        since = self._start()
        return {
            "since": since,
            "topics": {topic: group.told(0) for topic, group in topics.items()},
            "typed": {
                topic: {kind: one.told(topics[topic].horizon) for kind, one in kinds.items()}
                for topic, kinds in typed.items()
            },
        }

    def _start(self) -> int:
        """The sequence of the start, of the first in a chain."""
        started = self._since if self._since is not None else self._turn.options.get("sq")
        if started is not None:
            return started
        return items.number(self._turn.history.execution, items.CREATED) << 20

    def _triggers(self) -> list[str]:
        return [self._trigger["event"]] if "event" in self._trigger else self._trigger.get("events", [])

    def _by_wait(self) -> dict[tuple[str, str | None], list[tuple[int, str]]]:
        """What this execution took, by topic and by the type that its waits asked for."""
        found: dict[tuple[str, str | None], list[tuple[int, str]]] = {}
        for record in self._takers():
            kind = record.get(items.EVENT_TYPE)
            wait = items.text(record, items.TOPIC), kind if isinstance(kind, str) else None
            found.setdefault(wait, []).append((items.number(record, items.AT), items.text(record, items.EVENT_ID)))
        return found

    def _takers(self) -> list[Item]:
        """The records of waits that took an event, of those that the body has observed or that are open.

        A closed wait that nobody observed leaves its event to the next. What a run of the body observed that failed as
        a whole stays taken, though the next run may come to that wait late, or not at all.
        """
        replay, execution = self._turn.replay, self._turn.history.execution
        before, untaken = items.number(execution, items.RERUN_AFTER), items.strings(execution, items.UNTAKEN)
        return [
            record
            for key, record in self._of_events()
            if key in replay.seen
            or key in replay.open
            or (items.number(record, items.EPOCH) <= before and key not in untaken)
        ]

    def _of_events(self) -> Iterator[tuple[str, Item]]:
        """The records of waits for which an event came."""
        for key, record in self._turn.history.records.items():
            if items.EVENT_ID in record and record.get(items.KIND) == AwaitEvent.kind:
                yield key, record

    def handed_on(self) -> dict[str, Value]:
        """What the execution item says for the next run of the body: up to which epoch events are taken, but for which.

        Those are of waits that were closed in the moment in which their event came: a handful at most. What is beyond
        twenty stays taken.
        """
        found = dict(self._of_events())
        if not found:
            return {}
        taken = [items.text(record, items.SK) for record in self._takers()]
        untaken = [key for key, record in found.items() if items.text(record, items.SK) not in taken]
        return {items.RERUN_AFTER: self._turn.epoch, items.UNTAKEN: untaken[:_UNTAKEN]}


def _drop_oldest(groups: list[_Taken]) -> None:
    """Keep 500 in all; older events than one that is dropped do not count any more."""
    found = sorted(((at, group) for group in groups for at, _ in group.events), key=lambda one: one[0])
    for at, group in found[: max(0, len(found) - _KEPT)]:
        group.horizon = max(group.horizon, (at + 1) << 20)
