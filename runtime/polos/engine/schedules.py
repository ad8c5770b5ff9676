"""Ticks of schedules: exactly one execution, or one record of a skip, for every nominal time. Laws: L10.

The execution's id is made from workflow, key and nominal time, so a tick that is delivered twice starts one. A tick
that finds the execution before it still open is recorded under its own id as skipped.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from polos.core import codec, cron, items
from polos.core.conditions import Absent, AnyOf, Change, Less
from polos.core.failures import Failure
from polos.core.identity import schedule_id, tick_id
from polos.engine.commands import Start, Stored, moment
from polos.engine.engine import Engine
from polos.errors import InvalidPayloadError, WorkflowDefinitionError
from polos.ports import ConditionFailed, Recurrences, Recurring
from polos.types.types import SchedulePayload
from polos.workflow import Workflow


def declared(workflows: Iterable[Workflow[Any, Any]]) -> list[Recurring]:
    """The schedules that the code asks for."""
    return [
        Recurring(workflow.id, workflow.schedule.key, workflow.schedule.cron, workflow.schedule.timezone, declared=True)
        for workflow in workflows
        if workflow.schedule is not None
    ]


def reconcile(recurrences: Recurrences, wanted: Iterable[Recurring], known: Collection[str] | None = None) -> None:
    """Make the recurring schedules what the code declares; one that was paused stays so.

    Those made at run time are left alone, unless the code now declares them. With `known` (workflow ids) so are those
    of workflows that are not among them, which another application on the same backend may have.
    """
    before = {(one.workflow_id, one.key): one for one in recurrences.list()}
    for one in wanted:
        old = before.pop((one.workflow_id, one.key), None)
        new = one if old is None else replace(one, paused=old.paused)
        if new != old:
            recurrences.apply(new)
    for old in before.values():
        if old.declared and (known is None or old.workflow_id in known):
            recurrences.remove(old.workflow_id, old.key)


@dataclass(frozen=True, slots=True)
class Tick:
    """One nominal time (ms) of a schedule."""

    workflow_id: str
    key: str
    at: int
    schedule: cron.CronSchedule

    @classmethod
    def of_message(cls, body: Mapping[str, Any]) -> Tick:
        """Raises `InvalidPayloadError`."""
        workflow_id, key, at = body.get("wf"), body.get("key"), body.get("at")
        expression, timezone = body.get("cron"), body.get("tz")
        if not (isinstance(workflow_id, str) and isinstance(key, str) and isinstance(at, int)):
            raise InvalidPayloadError("A tick message lacks its workflow, its key or its nominal time.")
        if not (isinstance(expression, str) and isinstance(timezone, str)):
            raise InvalidPayloadError("A tick message lacks its cron expression or its time zone.")
        try:
            return cls(workflow_id, key, at, cron.parse(expression, timezone))
        except WorkflowDefinitionError as error:
            raise InvalidPayloadError(f"A tick message has a bad schedule: {error}") from None


def fire(engine: Engine, tick: Tick) -> bool:
    """Start the execution of one nominal time. Repeatable. At most 2 reads, 1 update and 1 send."""
    workflow_id, key, at = tick.workflow_id, tick.key, tick.at
    workflow = engine.workflows().get(workflow_id)
    if workflow is None:
        return True  # removed from the code since; its schedule goes with the next deployment
    nominal = moment(at)
    execution_id = tick_id(workflow_id, key, nominal)
    state = engine.table.get(items.schedule(workflow_id, key)) or {}
    again = items.text(state, items.LAST_EXECUTION) == execution_id
    overlap = workflow.schedule.overlap if workflow.schedule is not None else "skip"
    if overlap == "skip" and not again and _open(engine, items.text(state, items.LAST_EXECUTION)):
        _record_skip(engine, execution_id, workflow_id)
        return True
    before = items.number(state, items.LAST_BEFORE if again else items.LAST_TICK, -1)
    payload = SchedulePayload(
        timestamp=nominal,
        last_timestamp=moment(before) if before >= 0 else None,
        timezone=tick.schedule.timezone,
        schedule_id=schedule_id(workflow_id, key),
        key=key,
        upcoming=tick.schedule.next_after(nominal),
    )
    text = codec.encode(workflow.accept_tick(payload), annotation=workflow.input_annotation)
    stored = engine.stash(text, execution_id, "The payload of a tick")
    start = Start.of(execution_id, workflow_id, stored, engine.now(), {"trigger": {"schedule": key, "at": at}})
    engine.backend.inbox.send([start.message()])
    if not again:
        _note_started(engine, workflow_id, key, at, before, execution_id)
    return True


def _open(engine: Engine, execution_id: str) -> bool:
    if not execution_id:
        return False
    item = engine.table.get(items.execution(execution_id))
    return item is None or items.ENDED not in item


def _note_started(engine: Engine, workflow_id: str, key: str, at: int, before: int, execution_id: str) -> None:
    change = Change(set={items.LAST_TICK: at, items.LAST_BEFORE: before, items.LAST_EXECUTION: execution_id})
    newer = AnyOf(Absent(), Less(items.LAST_TICK, at))
    try:
        engine.table.update(items.schedule(workflow_id, key), change, newer)
    except ConditionFailed:
        return


def _record_skip(engine: Engine, execution_id: str, workflow_id: str) -> None:
    now = engine.now()
    start = Start.of(execution_id, workflow_id, Stored("null"), now, {"trigger": {"skipped": "overlap"}})
    why = Failure("ScheduleOverlap", "skipped: the execution of the tick before was still open", None, 0)
    skip = {
        **start.attributes(),
        items.STATUS: "cancelled",
        items.ENDED: now,
        items.TTL: now // 1000 + int(engine.limits.retention),
        items.FAILURE: items.as_document(why.to_json()),
    }
    engine.ledger.note(items.execution(execution_id), skip)
