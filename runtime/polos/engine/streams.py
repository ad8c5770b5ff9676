"""Streams of runs, derived from the records: following one costs its readers, not the run.

A run's stream is that of its execution and of its children, ordered by the time at which things were recorded. What
is of one millisecond is ordered as a program that does one thing after the other does it: a step of the parent before
those after it, and a child's within the step that started it. From that order follow the sequence ids: every reader
gives the same ones, each to one event. `step_start` is shown with its `step_finish`, so it has its place there, too.

What is recorded a little late, by another process or with another clock, gets its place all the same: an event is
shown only when it has been seen for one look and for the time by which clocks may differ (`Limits.event_skew`), and
one that was published but not delivered keeps its place for a minute. So whoever goes on after the id of an event gets
what was shown after it. The outcome of a wait states when its event was published or its resume sent; where the
execution could be advanced only later, its place is where it was recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast

from polos.core import items
from polos.core.history import History
from polos.core.identity import digest
from polos.core.plain import as_json
from polos.engine import on_the_way, queries, topic_streams
from polos.engine.commands import millis, moment
from polos.engine.delivery import payload_of
from polos.engine.engine import Engine
from polos.errors import ExecutionNotFoundError
from polos.types.types import ExecutionDetail, StepDetail, StreamEvent

LOOK_EVERY = 0.3
_FINAL: Final = {
    "completed": "workflow_finish",
    "failed": "workflow_failed",
    "timed_out": "workflow_failed",
    "cancelled": "workflow_cancelled",
}
_UNDELIVERED: Final = 60_000
_APART: Final = 16
"""So far apart are ids, to leave room for what is shown late."""
_LAST: Final = 1 << 62


@dataclass(slots=True)
class _Entry:
    """An event's place: its time (ms), and its path from the root, which orders what is of one millisecond.

    Without `event` it was published (at `published`, ms) and is still to be delivered, or expired.
    """

    id: str
    at: int
    path: tuple[Any, ...]
    event: StreamEvent | None
    published: int = 0
    sequence: int = 0
    seen: float = 0.0


class Follower:
    """Follows one run. `look` returns what is new, and whether the execution has ended."""

    def __init__(
        self, engine: Engine, execution_id: str, last_sequence_id: int | None, last_timestamp: datetime | None
    ) -> None:
        self._engine, self._execution_id = engine, execution_id
        self._last = -1 if last_sequence_id is None else last_sequence_id
        self._since = 0 if last_timestamp is None else millis(last_timestamp)
        self._settles = engine.clock.real_delay(LOOK_EVERY + engine.limits.event_skew)
        self._looked = False
        self._shown: set[str] = set()
        self._waiting: dict[str, _Entry] = {}

    def look(self) -> tuple[list[StreamEvent], bool]:
        """1 query for the run, 1 for each of its children, and 1 for what was published into it.

        Nothing has happened yet in a child whose start is on its way; that is looked up as `on_the_way` tells.
        """
        try:
            root, history = queries.read(self._engine, self._execution_id)
        except ExecutionNotFoundError:
            if on_the_way.of_parent(self._engine, self._execution_id) is None:
                raise
            return [], False
        topic = f"workflow/{root.root_workflow_id}/{root.root_execution_id}"
        entries = self._entries(root, history, topic)
        self._take_in(entries)
        fresh: list[StreamEvent] = []
        for entry in sorted(self._waiting.values(), key=lambda one: one.sequence):
            if not self._has_settled(entry):
                break
            if entry.event is None:
                continue
            self._last = max(entry.sequence, self._last + 1)
            fresh.append(entry.event.model_copy(update={"sequence_id": self._last}))
            self._shown.add(entry.id)
            del self._waiting[entry.id]
        ended = root.completed_at is not None and _id(root.id, _end_of(root)) in self._shown
        return fresh, ended and not any(self._is_on_its_way(one) for one in self._waiting.values())

    def _take_in(self, entries: Iterable[_Entry]) -> None:
        """Note what has not been shown; on the first look, all that is to be passed over counts as shown."""
        seen, aged = self._engine.clock.monotonic(), self._engine.now() - int(self._settles * 1000)
        for entry in entries:
            if entry.at < self._since or (not self._looked and entry.sequence <= self._last):
                self._shown.add(entry.id)
            elif entry.id not in self._shown:
                known = self._waiting.get(entry.id)
                if known is not None and (known.event is not None or entry.event is None):
                    entry.seen = known.seen
                else:
                    entry.seen = seen - (self._settles if not self._looked and entry.at <= aged else 0.0)
                self._waiting[entry.id] = entry
        self._looked = True

    def _has_settled(self, entry: _Entry) -> bool:
        """Whether nothing more is to come before an entry."""
        if entry.event is None:
            return self._engine.now() - entry.published >= _UNDELIVERED
        return self._engine.clock.monotonic() - entry.seen >= self._settles

    def _is_on_its_way(self, entry: _Entry) -> bool:
        """Whether an event is still to be delivered, as far as events are kept."""
        kept = self._engine.now() - int(self._engine.limits.event_retention * 1000)
        return entry.event is None and entry.published > kept

    def _entries(self, root: ExecutionDetail, history: History, topic: str) -> list[_Entry]:
        """All of the run, in order, each with the sequence id that every reader gives it."""
        found = {entry.id: entry for entry in self._of(root, history, topic, ())}
        for item in topic_streams.kept(self._engine, topic, -1):
            identity = items.text(item, items.EVENT_ID)
            own = _Entry(identity, items.number(item, items.SEQUENCE) >> 20, (0, 1), None)
            entry = found.setdefault(identity, own)  # one that is not on record yet comes right after the start
            if entry.event is None and identity not in self._shown:
                entry.event = StreamEvent(**dict(payload_of(self._engine, topic, item)))
        sequence = -_APART
        ordered = sorted(found.values(), key=lambda one: (one.at, one.path, one.id))
        for entry in ordered:
            entry.sequence = sequence = max(sequence + _APART, entry.at << 20)
        return ordered

    def _of(self, detail: ExecutionDetail, history: History, topic: str, path: tuple[Any, ...]) -> Iterator[_Entry]:
        about = {"_metadata": {"execution_id": detail.id, "workflow_id": detail.workflow_id}}
        data: dict[str, Any] = {"payload": detail.payload, **about}
        start = _entry(topic, detail.id, "workflow_start", detail.created_at, data, (*path, 0))
        if path and detail.started_at is not None:  # a child is not there before somebody has claimed it
            start.at = max(start.at, millis(detail.started_at))
        yield start
        for step in detail.steps:
            place, record = (*path, (history.asked(step.key) or 0) + 1, _LAST), history.records.get(step.key, {})
            for entry in _of_step(topic, detail.id, step, about, place):
                if entry.id != _id(detail.id, f"suspend_{step.key}"):  # what came long before it was recorded
                    entry.at = max(entry.at, items.number(record, items.NOTED))
                yield entry
            if step.kind == "publish" and record.get(items.TOPIC) == topic:
                at, written = items.number(record, items.SEQUENCE) >> 20, items.number(record, items.AT)
                yield _Entry(items.text(record, items.EVENT_ID), at, (*place, 0, step.key), None, written)
        for child, (key, index) in queries.children(history, detail.id).items():
            try:
                found, below = queries.read(self._engine, child)
            except ExecutionNotFoundError:  # its start is on its way, or it has expired
                continue
            yield from self._of(found, below, topic, (*path, (history.asked(key) or 0) + 1, index))
        if detail.completed_at is not None:
            error = detail.error.model_dump() if detail.error is not None else None
            data = {"result": detail.result, "error": error, "status": detail.status, **about}
            yield _entry(topic, detail.id, _end_of(detail), detail.completed_at, data, (*path, _LAST))


def _of_step(
    topic: str, execution_id: str, step: StepDetail, about: dict[str, Any], place: tuple[Any, ...]
) -> Iterator[_Entry]:
    first, second = (*place, 1, step.key), (*place, 2, step.key)
    if step.kind == "suspend" and step.started_at is not None:
        data: Any = as_json(step.detail.get("data"))
        shown: Any = {**cast("dict[str, Any]", data), **about} if isinstance(data, dict) else data
        yield _entry(topic, execution_id, f"suspend_{step.key}", step.started_at, shown, first)
        if step.ended_at is not None and step.status == "completed":
            result: Any = step.result
            given: Any = cast("dict[str, Any]", result).get("data") if isinstance(result, dict) else result
            yield _entry(topic, execution_id, f"resume_{step.key}", step.ended_at, given, second)
    elif step.ended_at is not None:
        data = {"step_key": step.key, "step_type": step.kind, **about}
        name = f"{step.key}{_mark_of_failure(step.ended_at) if step.status == 'failed' else ''}"
        began = _entry(topic, execution_id, f"step_start:{name}", step.started_at or step.ended_at, data, first)
        began.at = millis(step.ended_at)
        yield began
        end = {**data, "data": step.result, "error": step.error.model_dump() if step.error else None}
        yield _entry(topic, execution_id, f"step_finish:{name}", step.ended_at, end, second)


def _entry(topic: str, execution_id: str, what: str, at: datetime, data: Any, path: tuple[Any, ...]) -> _Entry:
    """An event whose id and place follow from the record, the same for every reader; its data is plain JSON."""
    kind = what.split(":", 1)[0] if what.startswith(("step_", "workflow_")) else what
    event = StreamEvent(
        id=_id(execution_id, what),
        sequence_id=0,
        topic=topic,
        event_type=kind,
        data=as_json(data),
        created_at=moment(millis(at)),
    )
    return _Entry(event.id, millis(at), path, event)


def _id(execution_id: str, what: str) -> str:
    return digest("stream", execution_id, what, length=32)


def _end_of(detail: ExecutionDetail) -> str:
    assert detail.completed_at is not None
    return f"{_FINAL[detail.status]}{_mark_of_failure(detail.completed_at) if detail.status == 'failed' else ''}"


def _mark_of_failure(at: datetime) -> str:
    """What tells a failure from a later one: after a `retry` the same step, and the same execution, may fail again."""
    return f":failed:{millis(at)}"
