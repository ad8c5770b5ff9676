"""How long things are kept, where what an execution stores expires by itself: nothing of an open one may (SPEC 8.9).

Every record is put with the time of its expiry, `Limits.horizon` after its own: the retention of executions and sixty
days. That costs nothing. Who is open for longer is found by a sweep, which runs every six hours:

    age        0 ........ retention + 5 d ........ retention + 30 d before `ku` ........ ku = start + horizon
               nobody looks    the sweep looks          the sweep renews: ku = now + horizon       records expire

The sweep reads the index of starts, from the oldest to those `retention` + 5 days old: finished ones of that age are
gone, so it meets only what has been open for long. A month without a sweep is therefore harmless. After `ku` nobody may
run the body any more: what it had recorded may be gone, and its steps would run as if for the first time.

Children get their ids from their parent's. One that is left open when its parent has gone would be taken for a child of
the next run of that id, so a renewal of it keeps the id of its parent, and of the root, from being used again.
Laws: L1, L10.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from polos.core import items
from polos.core.conditions import AllOf, Change, Has, Item, Not, Value
from polos.core.items import Key
from polos.engine import commands
from polos.engine.commands import moment
from polos.engine.engine import Engine
from polos.engine.ledger import OPEN
from polos.ports import ConditionFailed

_log = logging.getLogger("polos.engine")

_DAY: Final = 86_400_000
_LAG: Final = 5 * _DAY
"""DynamoDB removes what has expired "within a few days" (Developer Guide, "Using time to live")."""

_SPARE: Final = 30 * _DAY
_YEARS: Final = 10
_PAGE: Final = 100
_STOP_BEFORE: Final = 30.0
_POINTERS: Final = tuple(f"{name}p" for name in (items.VALUE, items.INPUT, items.RESULT, items.FINAL_STATE))


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep did. `complete`: it came to the end of the index."""

    renewed: int
    complete: bool


def first_kept_until(engine: Engine, created_at: int) -> dict[str, Value]:
    """What a first claim says, so that a change of the retention does not change what has been put before."""
    horizon = engine.limits.horizon
    return {} if horizon is None else {items.KEPT_UNTIL: created_at + int(horizon * 1000)}


def kept_until(engine: Engine, item: Item) -> int | None:
    """Until when the records of an execution are kept, at least (ms); None: as long as it is."""
    horizon = engine.limits.horizon
    if horizon is None:
        return None
    return items.number(item, items.KEPT_UNTIL, items.number(item, items.CREATED) + int(horizon * 1000))


def may_be_lost(engine: Engine, item: Item) -> bool:
    """Whether records of an execution may have expired."""
    until = kept_until(engine, item)
    return until is not None and until < engine.now()


def sweep(engine: Engine, remaining: Callable[[], float], *, whole: bool = False) -> Swept:
    """Renew what open executions have stored, of those that need it. Repeatable; stops 30 s before its time is over.

    `whole` looks at every execution, also at young ones, as is needed once when the retention was raised.
    Requests: 1 for each month and shard of ten years, 1 for 100 executions that are old, and those of `renew`.
    """
    renewed = 0
    age = 0 if whole else int(engine.limits.retention * 1000) + _LAG
    for item in _started_before(engine, engine.now() - age):
        if remaining() < _STOP_BEFORE:
            return Swept(renewed, complete=False)
        renewed += renew_if_due(engine, item)
    return Swept(renewed, complete=True)


def renew_if_due(engine: Engine, item: Item) -> bool:
    """Renew what one execution has stored, if it is open and needs it."""
    if items.ENDED in item or items.WORKFLOW not in item or not _is_due(engine, item):
        return False
    renew(engine, item)
    return True


def sweep_gathered(engine: Engine, remaining: Callable[[], float]) -> Swept:
    """Renew the payloads beside the table of events that wait for a batch which does not fill. Repeatable.

    Requests: 1; for each workflow that ever had such an event 1 per MB of those that wait, and 1 for 100 old ones; for
    each that needs it 1 copy and 1 update.
    """
    renewed = 0
    since = engine.now() - int(engine.limits.retention * 1000) - _LAG
    for place in engine.table.query(items.gathering("").pk, prefix=items.gathering("").sk):
        workflow_id = items.text(place, items.SK)[len(items.gathering("").sk) :]
        waiting = engine.table.query(items.collector(workflow_id).pk, prefix="e#")
        ids = [items.event_id_in(items.text(one, items.SK)) for one in waiting if items.number(one, items.AT) < since]
        for first in range(0, len(ids), _PAGE):
            keys = [items.gathered(workflow_id, one) for one in ids[first : first + _PAGE]]
            for event in engine.table.get_many(keys):
                if remaining() < _STOP_BEFORE:
                    return Swept(renewed, complete=False)
                renewed += _renew_event(engine, event)
    return Swept(renewed, complete=True)


def _renew_event(engine: Engine, event: Item) -> bool:
    """The payload was stored when the event was published, which may be long before it came here."""
    horizon, pointer = engine.limits.horizon, event.get(items.POINTER)
    if horizon is None or not isinstance(pointer, str):
        return False
    stored = min(items.number(event, items.SEQUENCE) >> 20, items.number(event, items.AT))
    until = items.number(event, items.KEPT_UNTIL, stored + int(horizon * 1000))
    if until - engine.now() >= int(engine.limits.retention * 1000) + _SPARE:
        return False
    until = engine.now() + int(horizon * 1000)
    _renew_payload(engine, f"event {items.text(event, items.EVENT_ID)}", pointer)
    key, waits = Key(items.text(event, items.PK), items.text(event, items.SK)), Not(Has(items.BATCH))
    with contextlib.suppress(ConditionFailed):  # a batch has taken it meanwhile
        engine.table.update(key, Change(set={items.KEPT_UNTIL: until}), AllOf(Has(items.POINTER), waits))
    return True


def renew(engine: Engine, item: Item) -> None:
    """Keep all that one execution has stored for another horizon. Repeatable.

    1 query per MB, 1 update an item, 1 copy for each payload beside the table, 1 update of the execution; of a child 1
    or 2 updates more. The time is taken before, so what is put meanwhile is kept for longer than `ku` says; `ku` comes
    last, so a renewal that breaks off is done anew.
    """
    horizon = engine.limits.horizon
    assert horizon is not None
    execution_id, until = items.text(item, items.PK), engine.now() + int(horizon * 1000)
    if may_be_lost(engine, item):
        _log.error("the records of the open execution %s may have expired before they were renewed", execution_id)
        return  # whoever runs it next fails it, visibly
    for stored in [item, *engine.table.renew(execution_id)]:
        for name in _POINTERS:
            pointer = stored.get(name)
            if isinstance(pointer, str):
                _renew_payload(engine, f"open execution {execution_id}", pointer)
    for ancestor in {commands.parent_of(item).get("x", execution_id), commands.root_of(item)["x"]} - {execution_id}:
        engine.table.update(items.outliving(ancestor, execution_id), Change(set={items.AT: engine.now()}))
    try:
        change = Change(set={items.KEPT_UNTIL: until})
        engine.table.update(items.execution(execution_id), change, AllOf(Has(items.WORKFLOW), OPEN))
    except ConditionFailed:
        return  # it has ended meanwhile, and what it stored is kept for longer than it is


def _renew_payload(engine: Engine, owner: str, pointer: str) -> None:
    try:
        engine.backend.payloads.renew(pointer)
    except KeyError:
        _log.error("the payload %s of the %s is missing", pointer, owner)


def _is_due(engine: Engine, item: Item) -> bool:
    until = kept_until(engine, item)
    return until is not None and until - engine.now() < int(engine.limits.retention * 1000) + _SPARE


def _started_before(engine: Engine, before: int) -> Iterator[Item]:
    """The execution items of those that started before a time, oldest months first."""
    until = f"{before:015d}"
    for bucket in _buckets(before):
        since = ""
        while page := engine.table.by_start(bucket, since=since, until=until, limit=_PAGE, reverse=False):
            since = items.text(page[-1], items.BUCKET_SORT)
            yield from engine.table.get_many([items.execution(items.text(one, items.PK)) for one in page])


def _buckets(before: int) -> Iterator[str]:
    last = moment(before)
    month = last.replace(year=last.year - _YEARS, day=1)
    while month <= last:
        for shard in range(items.SHARDS):
            yield commands.bucket(commands.millis(month), shard)
        month = (month + timedelta(days=32)).replace(day=1)
