"""Streams, derived from the records: following one costs its readers, not the run.

A run's stream is that of its execution and of its children, ordered by the time at which things were recorded.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, cast

from polos.core import items
from polos.core.identity import digest
from polos.core.plain import as_json
from polos.engine import queries
from polos.engine.commands import millis, moment
from polos.engine.delivery import payload_of
from polos.engine.engine import Engine
from polos.errors import ExecutionNotFoundError
from polos.types.types import ExecutionDetail, StepDetail, StreamEvent

LOOK_EVERY = 0.3
_FINAL = {
    "completed": "workflow_finish",
    "failed": "workflow_failed",
    "timed_out": "workflow_failed",
    "cancelled": "workflow_cancelled",
}


def start_of_topic(engine: Engine, last_sequence_id: int | None, last_timestamp: datetime | None) -> int:
    """The sequence after which a follower of a topic begins: what it names, or now."""
    if last_sequence_id is not None:
        return last_sequence_id
    return millis(last_timestamp or engine.clock.now()) << 20


def topic_events(engine: Engine, topic: str, after: int) -> list[StreamEvent]:
    """The retained events of a topic after a sequence number, each id once. 1 query."""
    found = engine.table.query(items.topic(topic), prefix="e#", after=items.event_sk(after, "~"))
    unique = {items.text(item, items.EVENT_ID): item for item in reversed(found)}
    ordered = sorted(unique.values(), key=lambda item: items.number(item, items.SEQUENCE))
    return [StreamEvent(**payload_of(engine, topic, item).model_dump()) for item in ordered]


class Follower:
    """Follows one run. `look` returns what is new, and whether the execution has ended."""

    def __init__(
        self, engine: Engine, execution_id: str, last_sequence_id: int | None, last_timestamp: datetime | None
    ) -> None:
        self._engine, self._execution_id = engine, execution_id
        self._after = -1 if last_sequence_id is None else last_sequence_id
        self._since = 0 if last_timestamp is None else millis(last_timestamp)
        self._shown: set[str] = set()

    def look(self) -> tuple[list[StreamEvent], bool]:
        """1 query for the run, and 1 for each of its children."""
        root = queries.describe(self._engine, self._execution_id)
        topic = f"workflow/{root.root_workflow_id}/{root.root_execution_id}"
        found = [*self._of(root, topic)]
        found += [event for event in topic_events(self._engine, topic, -1) if self._shown.isdisjoint({event.id})]
        fresh: list[StreamEvent] = []
        for event in sorted(found, key=lambda one: one.sequence_id):
            if (
                event.id not in self._shown
                and event.sequence_id > self._after
                and event.sequence_id >= self._since << 20
            ):
                fresh.append(event)
            self._shown.add(event.id)
        return fresh, root.completed_at is not None and not self._on_its_way(root, topic)

    def _on_its_way(self, root: ExecutionDetail, topic: str) -> bool:
        """Whether an event published into the run's stream is still to be delivered. 1 query an execution."""
        kept = self._engine.now() - int(self._engine.limits.event_retention * 1000)
        return any(
            items.text(record, items.EVENT_ID) not in self._shown
            for execution_id in (root.id, *root.children)
            for record in self._engine.table.query(execution_id, prefix="r#")
            if record.get(items.KIND) == "publish"
            and record.get(items.TOPIC) == topic
            and items.number(record, items.AT) > kept
        )

    def _of(self, detail: ExecutionDetail, topic: str) -> Iterator[StreamEvent]:
        about = {"_metadata": {"execution_id": detail.id, "workflow_id": detail.workflow_id}}
        yield self._event(
            topic, detail.id, "workflow_start", detail.created_at, {"payload": detail.payload, **about}, 0
        )
        for number, step in enumerate(detail.steps):
            yield from self._of_step(topic, detail.id, step, about, number)
        for child in detail.children:
            try:
                found = queries.describe(self._engine, child)
            except ExecutionNotFoundError:  # its start is on its way, or it has expired
                continue
            yield from self._of(found, topic)
        if detail.completed_at is not None:
            error = detail.error.model_dump() if detail.error is not None else None
            data = {"result": detail.result, "error": error, "status": detail.status, **about}
            kind = _FINAL[detail.status]
            yield self._event(topic, detail.id, kind, detail.completed_at, data, (1 << 20) - 1)

    def _of_step(
        self, topic: str, execution_id: str, step: StepDetail, about: dict[str, Any], number: int
    ) -> Iterator[StreamEvent]:
        if step.kind == "suspend" and step.started_at is not None:
            data: Any = as_json(step.detail.get("data"))
            shown: Any = {**cast("dict[str, Any]", data), **about} if isinstance(data, dict) else data
            yield self._event(topic, execution_id, f"suspend_{step.key}", step.started_at, shown, 2 * number + 1)
            if step.ended_at is not None and step.status == "completed":
                result: Any = step.result
                given: Any = cast("dict[str, Any]", result).get("data") if isinstance(result, dict) else result
                yield self._event(topic, execution_id, f"resume_{step.key}", step.ended_at, given, 2 * number + 2)
        elif step.ended_at is not None:
            data = {"step_key": step.key, "step_type": step.kind, **about}
            began = step.started_at or step.ended_at
            yield self._event(topic, execution_id, f"step_start:{step.key}", began, data, 2 * number + 1)
            end = {**data, "data": step.result, "error": step.error.model_dump() if step.error else None}
            yield self._event(topic, execution_id, f"step_finish:{step.key}", step.ended_at, end, 2 * number + 2)

    def _event(self, topic: str, execution_id: str, what: str, at: datetime, data: Any, place: int) -> StreamEvent:
        """An event whose id and place follow from the record, the same for every reader; its data is plain JSON."""
        sequence = (millis(at) << 20) + min(place, (1 << 20) - 1)
        kind = what.split(":", 1)[0] if what.startswith("step_") else what
        return StreamEvent(
            id=digest("stream", execution_id, what, length=32),
            sequence_id=sequence,
            topic=topic,
            event_type=kind,
            data=as_json(data),
            created_at=moment(millis(at)),
        )
