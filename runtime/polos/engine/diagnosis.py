"""Executions that should have moved and did not, as far as the table can tell. Reads only, and never guesses.

An open execution is somebody's: an invocation holds its lease, a message is under way, or it waits for something that
has not come. It is stuck when the table says that something has come, or was due, longer ago than messages take, and
nobody holds it. What the table does not say (whether a message is still in a queue, whether a start that is late waits
for a slot behind many others) is not taken for stuck. A wake is a hint, so sending one for a suspicion is always safe.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from polos.core import items
from polos.core.conditions import Item
from polos.core.history import History
from polos.core.items import Key
from polos.engine import listing
from polos.engine.commands import moment
from polos.engine.engine import Engine

OPEN = ("queued", "running", "waiting")
_PAGE = 200


@dataclass(frozen=True, slots=True)
class Stuck:
    """One execution that does not move: since when it should have, and why it is thought so, in one sentence."""

    execution_id: str
    workflow_id: str
    status: str
    since: datetime
    reason: str


def open_executions(engine: Engine, since: datetime) -> Iterator[str]:
    """Ids of those that were started since then and have not ended. Requests: those of `listing.find`, by page."""
    cursor: str | None = None
    while True:
        page, cursor = listing.find(engine, since=since, limit=_PAGE, cursor=cursor)
        yield from (line.id for line in page if line.status in OPEN)
        if cursor is None:
            return


def examine(engine: Engine, execution_id: str, patience: float) -> Stuck | None:
    """Whether it should have moved more than `patience` seconds ago; one that is paused should not.

    1 query per MB, and at most 2 reads.
    """
    partition = engine.table.query(execution_id)
    item = next((one for one in partition if one[items.SK] == items.EXECUTION), None)
    if item is None or items.WORKFLOW not in item or items.ENDED in item or items.PAUSED in item:
        return None
    if engine.controls.hold_of(item) is not None:
        return None
    found = _overdue(engine, item, History.of(partition, item))
    if found is None or found[0] + int(patience * 1000) > engine.now():
        return None
    status = items.text(item, items.STATUS, "queued")
    return Stuck(execution_id, items.text(item, items.WORKFLOW), status, moment(found[0]), found[1])


def drive_on(engine: Engine, one: Stuck) -> None:
    """Send it the wake that may have been lost. 1 request."""
    engine.wake(one.execution_id, one.workflow_id)


def _overdue(engine: Engine, item: Item, history: History) -> tuple[int, str] | None:
    """Since when (ms) it should have moved, and why; None: it is somebody's, or waits for what has not come."""
    until = items.number(item, items.LEASE_UNTIL)
    if items.LEASE_TOKEN in item:
        return until, "its invocation died, and its message has not come again"
    if not items.number(item, items.EPOCH):
        return items.number(item, items.CREATED), "it was started, and no worker has taken it"
    not_before = items.number(item, items.NOT_BEFORE)
    if not_before > engine.now():
        return None
    if items.text(item, items.WAITING_SK):
        return _in_line(engine, item, history)
    reasons = [*_arrived(history), *_timers(history)]
    if not_before > _last_sign(item, history):
        reasons.append((not_before, "the time to try its code again has come"))
    if items.CANCEL in item and items.CANCEL_AT not in item:
        reasons.append((_last_sign(item, history), "it was asked to stop"))
    if items.text(item, items.STATUS) == "running":
        reasons.append((_last_sign(item, history), "an invocation handed it on, and no other has taken it"))
    return min(reasons, default=None)


def _last_sign(item: Item, history: History) -> int:
    """When something about it was last written, of what carries a time."""
    written = [items.number(one, items.AT) for where in (history.records, history.marks) for one in where.values()]
    return max([items.number(item, items.CREATED), items.number(item, items.STARTED), *written])


def _in_line(engine: Engine, item: Item, history: History) -> tuple[int, str] | None:
    """A place in line is called when a holder gives its slot back, so it is stuck if nobody holds one."""
    options = items.document(item, items.START)
    slots = engine.table.get(Key(items.queue(options["queue"], options.get("ckey", "")), items.SLOTS)) or {}
    if items.number(slots, items.LIMIT_COUNT):
        return None
    return _last_sign(
        item, history
    ), f"it waits for a slot of the queue {options['queue']!r}, of which nobody holds one"


def _timers(history: History) -> Iterator[tuple[int, str]]:
    for key, record in history.records.items():
        due = items.number(record, items.DUE)
        if record.get(items.STATE) == items.ARMED:
            yield due, f"the time of step {key!r} has come"
        elif record.get(items.STATE) == items.RETRYING:
            yield due, f"the next attempt of step {key!r} is due"


def _arrived(history: History) -> Iterator[tuple[int, str]]:
    for key, resumed in history.resumes.items():
        if history.decided(key) is None and key in history.marks:
            yield items.number(resumed, items.AT), f"step {key!r} was resumed"
    for _, key, *_ in json.loads(items.text(history.execution, items.WAITING_FOR, "[]")):
        record = history.decided(key)
        if record is not None:  # a child writes it
            yield items.number(record, items.AT), f"the child of step {key!r} has ended"
    for key, mark in history.marks.items():
        count, done = items.number(mark, items.COUNT), history.batch(key)
        if count and len(done) == count and history.decided(key) is None:
            last = max(items.number(one, items.AT) for one in done.values())
            yield last, f"all {count} children of step {key!r} have ended"
