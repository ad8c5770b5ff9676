"""`continue_as_new`: an execution that goes on under the same handle with an empty history.

The successor is an execution of its own, whose id is made from that of the first; `next` on the item of the one that
ended leads there. SEND the start, then finish: both are repeatable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polos.core import codec
from polos.engine import commands
from polos.engine.commands import Start

if TYPE_CHECKING:
    from polos.engine.turn import Turn


def start_of(turn: Turn, payload: Any) -> Start:
    """The start of the successor: the same options, family and parent, a new payload and a new time limit."""
    first, number = turn.options.get("chain") or (turn.execution_id, 0)
    execution_id = f"{first}~{number + 1}"
    given = turn.workflow.accept(payload)
    text = codec.encode(given, annotation=turn.workflow.input_annotation)
    stored = turn.engine.stash(text, execution_id, f"The payload of workflow {turn.workflow.id!r}")
    options = {**turn.options, "chain": [first, number + 1], "root": commands.root_of(turn.execution)}
    return Start(execution_id, turn.workflow.id, stored, turn.engine.now(), options)
