"""Ticks of schedules: exactly one execution, or one record of a skip, for every nominal time. Laws: L10.

The execution's id is made from workflow, key and nominal time, so a tick that is delivered twice starts one. A tick
that finds the execution before it still open is recorded under its own id as skipped, unless `overlap="allow"`.
docs/design.md, "Ticks", draws the races.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from polos.core import codec, cron, items
from polos.core.conditions import Change, Equals, Has, Item, Not
from polos.core.failures import Failure
from polos.core.identity import MAX_NAME_BYTES, schedule_id, tick_id
from polos.declaration import check_overlap
from polos.engine import fields
from polos.engine.commands import Start, moment
from polos.engine.engine import Engine
from polos.engine.finding import find
from polos.engine.stored import Stored
from polos.errors import ExecutionNotFoundError, InvalidPayloadError, WorkflowDefinitionError
from polos.ports import ConditionFailed, Recurrences, Recurring
from polos.types.types import SchedulePayload
from polos.workflow import Workflow

_LAST: Final = (items.LAST_TICK, items.LAST_BEFORE)


def declared(workflows: Iterable[Workflow[Any, Any]]) -> list[Recurring]:
    """The schedules that the code asks for."""
    return [
        Recurring(workflow.id, spec.key, spec.cron, spec.timezone, declared=True, overlap=spec.overlap)
        for workflow in workflows
        if (spec := workflow.schedule) is not None
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
    overlap: str = "skip"

    @property
    def execution_id(self) -> str:
        return tick_id(self.workflow_id, self.key, moment(self.at))

    @classmethod
    def of_message(cls, body: Mapping[str, Any]) -> Tick:
        """Raises `InvalidPayloadError`."""
        workflow_id, at = fields.workflow_id(body), fields.required_moment_ms(body, "at")
        key, expression, timezone, overlap = body.get("key"), body.get("cron"), body.get("tz"), body.get("ov", "skip")
        if not isinstance(key, str) or len(key) > MAX_NAME_BYTES:
            raise InvalidPayloadError("A tick message lacks its key.")
        if not (isinstance(expression, str) and isinstance(timezone, str)):
            raise InvalidPayloadError("A tick message lacks its cron expression or its time zone.")
        try:
            return cls(workflow_id, key, at, cron.parse(expression, timezone), check_overlap(overlap))
        except WorkflowDefinitionError as error:
            raise InvalidPayloadError(f"A tick message has a bad schedule: {error}") from None


def fire(engine: Engine, tick: Tick) -> bool:
    """Start the execution of one nominal time, or record that it is skipped. Repeatable. 1 to 3 gets and 1 update, then
    1 send or 1 put.

    Which of the two it is, and which tick is the last one, is decided by one write on the schedule's item, IF nothing
    was decided since it was read: two ticks at once can't both find that nothing is open, nor can two copies of one
    tick, before and after the end of the one that is open, decide differently.
    """
    workflow = engine.workflows().get(tick.workflow_id)
    if workflow is None:
        return True  # removed from the code since; its schedule goes with the next deployment
    state = _decide(engine, tick)
    if state is None:
        return True
    if str(tick.at) in items.strings(state, items.SKIPPED):
        _record_skip(engine, tick)
        return True
    before = [at for at in (items.number(state, name, -1) for name in _LAST) if 0 <= at < tick.at]
    nominal = moment(tick.at)
    payload = SchedulePayload(
        timestamp=nominal,
        last_timestamp=moment(max(before)) if before else None,
        timezone=tick.schedule.timezone,
        schedule_id=schedule_id(tick.workflow_id, tick.key),
        key=tick.key,
        upcoming=tick.schedule.next_after(nominal),
    )
    try:
        given = workflow.accept_tick(payload)
    except InvalidPayloadError:
        given = payload  # the body refuses it with the field's path, where people can see it
    text = codec.encode(given, annotation=workflow.input_annotation)
    stored = engine.stash(text, tick.execution_id, "The payload of a tick")
    options = {"trigger": {"schedule": tick.key, "at": tick.at}}
    start = Start.of(tick.execution_id, tick.workflow_id, stored, engine.now(), options)
    engine.backend.inbox.send([start.message()])
    return True


def _decide(engine: Engine, tick: Tick) -> Item | None:
    """The schedule's item once it says what becomes of the tick; None: that has been carried out already."""
    at, key = str(tick.at), items.schedule(tick.workflow_id, tick.key)
    state = engine.table.get(key) or {}
    while True:
        last, skipped = items.text(state, items.LAST_EXECUTION), items.strings(state, items.SKIPPED)
        if last == tick.execution_id or at in skipped:
            return state
        own = engine.table.get(items.execution(tick.execution_id))
        if own is not None and items.WORKFLOW in own:
            return None
        decided = items.number(state, items.COUNT)
        if tick.overlap == "skip" and _open(engine, last, items.number(state, items.AT)):
            change = Change(set={items.COUNT: decided + 1, items.SKIPPED: [*skipped, at][-engine.limits.spent :]})
        else:
            newest = items.number(state, items.LAST_TICK, -1)
            later = {items.LAST_TICK: tick.at, items.LAST_BEFORE: newest} if tick.at > newest else {}
            started = {items.LAST_EXECUTION: tick.execution_id, items.AT: engine.now()}
            change = Change(set={items.COUNT: decided + 1, **started, **later})
        same = Equals(items.COUNT, decided) if items.COUNT in state else Not(Has(items.COUNT))
        try:
            return engine.table.update(key, change, same)
        except ConditionFailed as lost:
            state = lost.item or {}


def _open(engine: Engine, execution_id: str, decided_at: int) -> bool:
    """Whether the execution that was started last, or what it went on as, may still be open.

    One that is not there is on its way, or is gone.

    It cannot be gone before `Limits.retention` after the decision to start it, and a start that was not carried out for
    so long was dropped by its queue: either way nothing is open, and ticks further apart than that are not skipped.
    """
    if not execution_id:
        return False
    try:
        return items.ENDED not in find(engine, execution_id)
    except ExecutionNotFoundError:
        return engine.now() - decided_at < int(engine.limits.retention * 1000)


def _record_skip(engine: Engine, tick: Tick) -> None:
    now = engine.now()
    start = Start.of(tick.execution_id, tick.workflow_id, Stored("null"), now, {"trigger": {"skipped": "overlap"}})
    why = Failure("ScheduleOverlap", "skipped: the execution of the tick before was still open", None, 0)
    skip = {
        **start.attributes(),
        items.STATUS: "cancelled",
        items.ENDED: now,
        items.TTL: now // 1000 + int(engine.limits.retention),
        items.FAILURE: items.as_document(why.to_json()),
    }
    engine.ledger.note(items.execution(tick.execution_id), skip)
