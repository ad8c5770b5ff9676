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
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from polos.core import codec, items
from polos.core.conditions import AllOf, AnyOf, AtMost, Change, Condition, Equals, Has, Item, Less, Not, Value
from polos.core.identity import successor_id
from polos.engine import commands
from polos.engine.commands import Start, Stored
from polos.engine.engine import Engine
from polos.ports import ConditionFailed, Outgoing

if TYPE_CHECKING:
    from polos.engine.turn import Turn


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
    """The duty of an execution that went on as new. 1 read and 1 send, 1 update of the first.

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
    if items.CANCEL in ended:  # it came too late for the one that ended: the successor is cancelled
        mode = items.text(ended, items.CANCEL)
        messages.append(Outgoing(commands.cancel(successor, items.text(ended, items.WORKFLOW), mode)))
    engine.backend.inbox.send(messages)
    if number:
        lead = Change(set={items.NEXT: successor, items.LINK: number + 1}, remove=(items.TTL, items.LINK_GENERATION))
        _change_first(engine, first, lead, AnyOf(Not(Has(items.LINK)), Less(items.LINK, number + 1)))


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
