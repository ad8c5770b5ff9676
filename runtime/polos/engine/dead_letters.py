"""What becomes of a message that its queue has given up: it is sent anew, ends its execution, or is kept for a person.

A dead letter says nothing that is believed by itself. It is acted on if it came through a queue of ours (then whoever
sent it could have sent the same to that queue), or as far as the table confirms it; and what it does is then what the
living message would have done. How often it died travels in it, and stands on the execution for those who look.

    died before, through our queue    sent anew to that queue, later each time, up to 14 times
    the 14th time                     nothing moved since the last: the execution fails (`UndeliverableError`), a start
                                      or tick that was never carried out is recorded as a failed execution
                                      it moved: counted from 0
    from anywhere else                a wake of an open execution: a new wake. Anything else: kept
    none of ours                      kept, with the reason

docs/design.md, "Dead letters", draws the races. Laws: L10, L12, L14.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from polos.core import items
from polos.core.conditions import Item, Value
from polos.core.failures import Failure
from polos.core.identity import tick_id
from polos.engine import notices, schedules
from polos.engine.commands import Start, moment, payload_key
from polos.engine.engine import Engine
from polos.engine.stored import Stored
from polos.errors import UndeliverableError
from polos.ports import ConditionFailed, Notice

ROUNDS: Final = 14
"""A message whose handling fails dies after a day (100 receipts, up to 15 minutes apart): this is two weeks."""

_FIRST, _LONGEST = 60.0, 900.0
_OF_EXECUTIONS: Final = frozenset({"start", "wake", "resume", "cancel", "retry", "unpause"})


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead message. `through` says that it came through a queue of ours.

    `rounds` is how often it was sent anew before, `progress` how far its execution was at the last time.
    """

    body: Mapping[str, Any]
    through: bool
    rounds: int = 0
    progress: int = 0

    @property
    def kind(self) -> str:
        return str(self.body.get("t"))

    @property
    def execution_id(self) -> str | None:
        return str(self.body["x"]) if self.kind in _OF_EXECUTIONS else None


@dataclass(frozen=True, slots=True)
class Again:
    """Send it anew, with these counts, after a delay in seconds."""

    rounds: int
    progress: int
    delay: float


@dataclass(frozen=True, slots=True)
class Keep:
    """Keep it for a person."""

    reason: str


@dataclass(frozen=True, slots=True)
class Done:
    """Its work is in the table."""

    what: str


Verdict = Again | Keep | Done


def judge(engine: Engine, letter: Letter) -> Verdict:
    """What becomes of a message of ours. Repeatable; at most 1 read, 2 writes and 1 send."""
    execution_id = letter.execution_id
    item = engine.table.get(items.execution(execution_id)) if execution_id is not None else None
    if not letter.through:
        return _unconfirmed(engine, letter, item)
    if letter.rounds >= ROUNDS:
        return _give_up(engine, letter, item)
    return _again(engine, letter, item, letter.rounds)


def _unconfirmed(engine: Engine, letter: Letter, item: Item | None) -> Verdict:
    """Nobody knows who sent it. A wake is a hint that anything may give; all else would be a command of anybody's."""
    if letter.kind == "wake" and item is not None and _is_open(item):
        workflow_id = items.text(item, items.WORKFLOW)
        if letter.body.get("wf") == workflow_id:
            engine.wake(str(letter.execution_id), workflow_id)
            return Done("woke its execution")
    return Keep(f"A {letter.kind!r} message came from outside the stack's queues, and the table does not confirm it.")


def _again(engine: Engine, letter: Letter, item: Item | None, rounds: int) -> Again:
    progress = 0 if item is None else _progress(item)
    if letter.execution_id is not None and item is not None:
        engine.ledger.note_redriven(letter.execution_id, rounds + 1)
    return Again(rounds + 1, progress, min(_LONGEST, _FIRST * 2**rounds))


def _give_up(engine: Engine, letter: Letter, item: Item | None) -> Verdict:
    if letter.kind == "tick":
        return _record_tick(engine, letter)
    execution_id = letter.execution_id
    if execution_id is None:
        return Keep(f"A {letter.kind!r} message was given up by its queue {letter.rounds} times.")
    if item is None or items.WORKFLOW not in item:
        if letter.kind != "start":
            return Keep(f"There is no execution {execution_id!r}.")
        return _record_start(engine, letter, execution_id)
    if items.ENDED in item:
        return _of_ended(engine, letter, execution_id, item)
    if _progress(item) != letter.progress:
        return _again(engine, letter, item, 0)
    seen = items.number(item, items.PROGRESS)
    try:
        item = engine.ledger.give_up(execution_id, seen, engine.now(), _end(engine, letter, execution_id))
    except ConditionFailed:
        return _again(engine, letter, item, 0)
    notices.ended(engine, item)
    return _tell(engine, execution_id, items.text(item, items.WORKFLOW))


def _of_ended(engine: Engine, letter: Letter, execution_id: str, item: Item) -> Verdict:
    """Ended by us, and this is the message again: what follows may not have been done. Otherwise a person must look."""
    if items.document(item, items.FAILURE).get("type") == UndeliverableError.__name__:
        return _tell(engine, execution_id, items.text(item, items.WORKFLOW))
    return Keep(
        f"Execution {execution_id!r} is {items.text(item, items.STATUS)}, but a {letter.kind!r} message for it was "
        f"given up {letter.rounds} times: what follows its end (telling its parent, say) may not be done."
    )


def _record_start(engine: Engine, letter: Letter, execution_id: str) -> Verdict:
    start = Start.of_message(letter.body)
    large = start.payload_item()
    if large is not None:  # a retry runs it
        engine.ledger.note(payload_key(execution_id, start.options), large)
    try:
        engine.ledger.give_up_start(execution_id, {**start.attributes(), **_end(engine, letter, execution_id)})
    except ConditionFailed:
        return _again(engine, letter, None, 0)  # it was carried out meanwhile
    engine.telemetry.note(Notice.FAILED, start.workflow_id)
    return _tell(engine, execution_id, start.workflow_id)


def _record_tick(engine: Engine, letter: Letter) -> Verdict:
    tick = schedules.Tick.of_message(letter.body)
    execution_id = tick_id(tick.workflow_id, tick.key, moment(tick.at))
    about = {"trigger": {"schedule": tick.key, "at": tick.at}}
    start = Start.of(execution_id, tick.workflow_id, Stored("null"), engine.now(), about)
    end = {**start.attributes(), **_end(engine, letter, execution_id)}
    item = engine.ledger.note(items.execution(execution_id), end)
    return Done(f"its execution {execution_id!r} is {items.text(item, items.STATUS) or 'queued'}")


def _end(engine: Engine, letter: Letter, execution_id: str) -> dict[str, Value]:
    failure = Failure.from_exception(UndeliverableError(execution_id, letter.kind, letter.rounds), 0)
    now = engine.now()
    return {
        items.STATUS: "failed",
        items.ENDED: now,
        items.TTL: now // 1000 + int(engine.limits.retention),
        items.FAILURE: items.as_document(failure.to_json()),
    }


def _tell(engine: Engine, execution_id: str, workflow_id: str) -> Done:
    """Whoever meets an ended execution does what follows its end; a wake brings somebody there."""
    engine.wake(execution_id, workflow_id)
    return Done("its execution has failed")


def _progress(item: Item) -> int:
    """How far it has got. A lease that is given back after an error of the backend raises `pg`, and is no progress."""
    return items.number(item, items.PROGRESS) - items.number(item, items.HANDED_BACK)


def _is_open(item: Item) -> bool:
    return items.WORKFLOW in item and items.ENDED not in item
