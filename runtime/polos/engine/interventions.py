"""What is asked of an execution from outside, as its messages come: a resume, a cancel, a terminate. Laws: L9, L12."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from polos.core import items
from polos.core.conditions import Item
from polos.core.identity import message_tag
from polos.engine import children, commands, duties, notices, traced
from polos.engine.commands import Target
from polos.engine.engine import Engine
from polos.engine.stored import Stored
from polos.ports import ConditionFailed, Message

_TOMBSTONE: Final = 60 * 86_400
"""Seconds that a cancel waits for its start: two weeks in the queue, and two more for each time that it dies there."""


def record_resume(engine: Engine, execution_id: str, step_key: str, body: Mapping[str, Any], message_id: str) -> None:
    """Keep the resume for the owner, also before the wait is reached. The first one counts."""
    at = body.get("at")
    moment = at if isinstance(at, int) else engine.now()
    data = engine.vault.fetch(Stored.of_message(body, "v"))
    head = items.as_document(
        {
            "id": message_tag(message_id),
            "sequence_id": moment << 20,
            "topic": f"workflow/{body.get('wf')}/{execution_id}",
            "event_type": f"resume_{step_key}",
            "created_at": commands.moment(moment).isoformat(),
        }
    )
    text = f'{head[:-1]},"data":{data}}}'
    value = engine.attributes(text, execution_id, f"The resume of step {step_key!r}")
    engine.ledger.note(items.resumption(execution_id, step_key), {items.EPOCH: 0, items.AT: moment, **value})


def note_cancel(engine: Engine, message: Message, target: Target) -> bool | None:
    """Note a cancel on the execution. None: go on and claim; otherwise the answer for the message."""
    tag, execution_id = message_tag(message.id), target.execution_id
    if target.mode == "terminate":
        return _terminate(engine, message, execution_id, target.generation)
    generation = target.generation
    try:
        engine.ledger.cancel_owned(execution_id, tag=tag, mode=target.mode, now=engine.now(), generation=generation)
    except ConditionFailed as failed:
        item = failed.item
        if item is not None and items.ENDED not in item and tag in items.strings(item, items.SPENT):
            return True
    else:
        engine.poke(execution_id)
        return True
    while item is None or items.ENDED not in item:
        if _retried_since(item, generation):
            return None  # not dropped: it may be the message by which an owner died since (rule 2)
        try:
            if item is None or items.WORKFLOW not in item:
                _leave_tombstone(engine, execution_id, target.mode)
                return True
            engine.ledger.request_cancel(execution_id, mode=target.mode, generation=generation)
        except ConditionFailed as failed:
            item = failed.item
        else:
            return None
    duties.repeat(engine, message, item)
    return True


def _retried_since(item: Item | None, generation: int | None) -> bool:
    """Whether a cancel is for a run before this one, which a retry has opened: nobody has cancelled this one."""
    return item is not None and generation is not None and items.number(item, items.GENERATION) > generation


def _leave_tombstone(engine: Engine, execution_id: str, mode: str) -> None:
    """The start that the cancel has overtaken will find it."""
    engine.ledger.leave_tombstone(execution_id, mode=mode, expires=engine.now() // 1000 + _TOMBSTONE)


def _terminate(engine: Engine, message: Message, execution_id: str, generation: int | None) -> bool:
    now = engine.now()
    end = {
        items.STATUS: "cancelled",
        items.CANCEL: "terminate",
        items.ENDED: now,
        items.TTL: now // 1000 + int(engine.limits.retention),
    }
    while True:
        try:
            item = engine.ledger.terminate(execution_id, end, generation)
        except ConditionFailed as failed:
            if failed.item is not None and items.ENDED in failed.item:
                if items.text(failed.item, items.CANCEL) == "terminate":
                    children.terminate_all(engine, execution_id)
                duties.repeat(engine, message, failed.item)
                return True
            if _retried_since(failed.item, generation):
                return True
        else:
            break
        try:  # it overtook the start: leave a tombstone
            _leave_tombstone(engine, execution_id, "terminate")
        except ConditionFailed:
            continue
        return True
    notices.ended(engine, item)
    traced.execution_ended(item)
    engine.poke(execution_id)
    children.terminate_all(engine, execution_id)
    duties.perform(engine, item)
    return True
