"""`continue_as_new`: an execution that goes on under the same handle with an empty history.

The successor is an execution of its own, whose id is made from that of the first; `next` on the item of the one that
ended leads there. Its payload is written beside the item, then the execution finishes, then the start is SENT, by every
message that meets the one that ended: one that was terminated at the last moment has no successor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polos.core import codec, items
from polos.core.conditions import Item
from polos.engine import commands
from polos.engine.commands import Start, Stored
from polos.engine.engine import Engine
from polos.ports import Outgoing

if TYPE_CHECKING:
    from polos.engine.turn import Turn


def id_after(item: Item, links: int) -> str:
    """The id of the execution so many links after that of an execution item."""
    first, number = items.document(item, items.START).get("chain") or (items.text(item, items.PK), 0)
    return f"{first}~{number + links}"


def prepare(turn: Turn, payload: Any) -> tuple[str, Stored]:
    """The id of the successor and its payload. Raises `InvalidPayloadError`."""
    execution_id = id_after(turn.execution, 1)
    given = turn.workflow.accept(payload)
    text = codec.encode(given, annotation=turn.workflow.input_annotation)
    what = f"The payload of workflow {turn.workflow.id!r}"
    return execution_id, turn.engine.stash(text, execution_id, what)


def start(engine: Engine, ended: Item) -> None:
    """The duty of an execution that went on as new. 1 read and 1 send; nothing for others."""
    if items.NEXT not in ended:
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
