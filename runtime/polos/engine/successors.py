"""`continue_as_new`: an execution that goes on under the same handle with an empty history.

The successor is an execution of its own, whose id is made from that of the first; `next` on the item of the one that
ended leads there. Its payload is written beside the item, then the execution finishes, then the start is SENT, by every
message that meets the one that ended: one that was terminated at the last moment has no successor.

The links of a chain expire like other executions that have ended. The first, whose id is the handle of them all, stays
until the last has ended: until then it has no time to live, and its `next` is moved on, never back, so that whoever
asks for it need not go by links that are gone. Both are written with the number of the link that they are about, so
that an older link's write, which may land after the end of the last, is refused.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from polos.core import codec, items
from polos.core.conditions import AllOf, AnyOf, AtMost, Change, Condition, Equals, Has, Item, Less, Not, Value
from polos.core.identity import successor_id
from polos.engine import commands
from polos.engine.commands import Start
from polos.engine.engine import Engine
from polos.engine.stored import Stored
from polos.ports import ConditionFailed, Outgoing

if TYPE_CHECKING:
    from polos.engine.turn import Turn

_log = logging.getLogger("polos.engine")


def id_after(item: Item, links: int) -> str:
    """The id of the execution so many links after that of an execution item."""
    first, number = items.document(item, items.START).get("chain") or (items.text(item, items.PK), 0)
    return successor_id(first, number + links)


def is_first(execution: Item, outcome: Mapping[str, Value]) -> bool:
    """Whether an execution that ends so begins a chain."""
    return items.NEXT in outcome and "chain" not in items.document(execution, items.START)


def prepare(turn: Turn, payload: Any) -> tuple[str, Stored]:
    """The id of the successor and its payload. Raises `InvalidPayloadError`."""
    execution_id = id_after(turn.execution, 1)
    given = turn.workflow.accept(payload)
    text = codec.encode(given, annotation=turn.workflow.input_annotation)
    what = f"The payload of workflow {turn.workflow.id!r}"
    return execution_id, turn.engine.stash(text, execution_id, what)


def start(engine: Engine, ended: Item) -> None:
    """The duty of an execution that went on as new. 1 read, 1 query and 1 send, 1 update of the first.

    A resume that came for a step which was never reached is the successor's: 1 get in all, 1 put each.

    There is none for others, nor for a first one whose `next` was moved on: its own successor has been
    started, and what it leads to is another's.
    """
    if items.NEXT not in ended or items.LINK in ended:
        return
    execution_id, successor = items.text(ended, items.PK), items.text(ended, items.NEXT)
    kept = engine.table.get(items.Key(execution_id, items.next_sk(ended))) or {}
    before = items.document(ended, items.START)
    first, number = before.get("chain") or (execution_id, 0)
    left_out = ("pd", "pb", "trigger", "sq", "tp", "forked")
    options = {name: value for name, value in before.items() if name not in left_out}
    options |= {"chain": [first, number + 1], "root": commands.root_of(ended), "ev": items.document(kept, items.DATA)}
    command = Start.of(
        successor, items.text(ended, items.WORKFLOW), Stored.of_item(kept), items.number(ended, items.ENDED), options
    )
    messages = [command.message()]
    if _pass_resumes_on(engine, ended, successor):  # it may have come when the successor was asleep already
        messages.append(Outgoing(commands.wake(successor, items.text(ended, items.WORKFLOW))))
    if items.CANCEL in ended:  # it came too late for the one that ended: the successor is cancelled
        mode = items.text(ended, items.CANCEL)
        messages.append(Outgoing(commands.cancel(successor, items.text(ended, items.WORKFLOW), mode, 0)))
    engine.backend.inbox.send(messages)
    if number:
        lead = Change(set={items.NEXT: successor, items.LINK: number + 1}, remove=(items.TTL, items.LINK_GENERATION))
        _change_first(engine, first, lead, AnyOf(Not(Has(items.LINK)), Less(items.LINK, number + 1)))


def _pass_resumes_on(engine: Engine, ended: Item, successor: str) -> bool:
    """Put the resumes of steps that were never reached down for the successor, before it starts. Whether there are any.

    One of a step that was reached is not for the next of that key, whoever it was that it did not wait for. Repeatable.
    """
    execution_id = items.text(ended, items.PK)
    prefix = items.resumption(execution_id, "").sk
    resumes = {items.text(one, items.SK)[len(prefix) :]: one for one in engine.table.query(execution_id, prefix=prefix)}
    left = _unreached(engine, execution_id, resumes)
    for key in left:
        resume = resumes[key]
        value = Stored.of_item(resume)
        if value.pointer is not None:  # a copy of its own: the ended one's goes with that
            value = engine.stash(engine.vault.fetch(value), successor, f"The resume of step {key!r}")
        about: dict[str, Value] = {items.EPOCH: 0, items.AT: items.number(resume, items.AT)}
        engine.ledger.note(items.resumption(successor, key), {**about, **value.attributes()})
    return bool(left)


def pass_on_late(engine: Engine, ended: Item, resume: Mapping[str, Any]) -> None:
    """A resume that came, perhaps once more, to an execution that had gone on as new. 1 or 2 reads, 1 send.

    Where its step was reached, it is not for the next of that key: what a later link asks, nobody has answered. It
    goes from link to link, so that each looks whether it was its own. Behind links that have expired it is dropped.
    """
    execution_id, successor = items.text(ended, items.PK), id_after(ended, 1)
    if not _unreached(engine, execution_id, [resume["k"]]):
        return
    if items.LINK in ended and engine.table.get(items.execution(successor)) is None:
        _log.warning("a resume of step %r came after the links of %r that it was for", resume["k"], execution_id)
        return
    engine.backend.inbox.send([Outgoing({**resume, "x": successor})])


def _unreached(engine: Engine, execution_id: str, step_keys: Collection[str]) -> list[str]:
    """Those of these steps that an execution never reached."""
    places = {key: (items.record(execution_id, key), items.mark(execution_id, key)) for key in step_keys}
    found = engine.table.get_many([one for pair in places.values() for one in pair]) if places else []
    reached = {items.text(one, items.SK) for one in found}
    return [key for key, pair in places.items() if reached.isdisjoint(one.sk for one in pair)]


def close(engine: Engine, ended: Item) -> None:
    """The duty of the last of a chain: the first may go when this one goes. 1 update; nothing for others."""
    chain = items.document(ended, items.START).get("chain")
    if chain and items.NEXT not in ended:
        ttl = items.number(ended, items.ENDED) // 1000 + int(engine.limits.retention)
        _lead_to_last(engine, ended, chain, items.number(ended, items.GENERATION), Change(set={items.TTL: ttl}))


def reopen(engine: Engine, failed: Item) -> None:
    """Before the last of a chain is retried: the first stays again. 1 update; nothing for others."""
    chain = items.document(failed, items.START).get("chain")
    if chain:
        generation = items.number(failed, items.GENERATION) + 1
        _lead_to_last(engine, failed, chain, generation, Change(remove=(items.TTL,)))


def _lead_to_last(engine: Engine, link: Item, chain: list[Any], generation: int, change: Change) -> None:
    """IF nothing is there of a later link, nor of a later generation of this one."""
    first, number = chain
    about = {items.NEXT: items.text(link, items.PK), items.LINK: number, items.LINK_GENERATION: generation}
    same = AllOf(
        Equals(items.LINK, number), AnyOf(Not(Has(items.LINK_GENERATION)), AtMost(items.LINK_GENERATION, generation))
    )
    newest = AnyOf(Not(Has(items.LINK)), Less(items.LINK, number), same)
    _change_first(engine, first, replace(change, set={**change.set, **about}), newest)


def _change_first(engine: Engine, first: str, change: Change, condition: Condition | None = None) -> None:
    begun = Has(items.NEXT)  # not made anew, if an older polos has let it expire
    with contextlib.suppress(ConditionFailed):
        engine.table.update(items.execution(first), change, begun if condition is None else AllOf(begun, condition))
