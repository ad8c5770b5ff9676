"""What the mutants of pauses put in the place of the engine's own functions: each takes one rule of "Holds" away."""

from __future__ import annotations

from typing import Any

from polos.core import items
from polos.core.items import Key
from polos.engine import commands, controls
from polos.engine.controls import Hold
from polos.ports import Outgoing


def only_send_release(engine: Any, kind: str, name: str) -> None:
    """The pause is left to the handler to remove."""
    for hold in engine.controls.refresh():
        if (hold.kind, hold.name) == (kind, name):
            engine.backend.inbox.send([controls._message(hold)])  # pyright: ignore[reportPrivateUsage]


def wake_then_remove(engine: Any, hold: Hold, message: Any, remaining: Any) -> bool:
    """Wake those in line, then end the pause that holds them."""
    while places := engine.table.query(hold.line, prefix="w#", limit=100):
        wakes = [commands.wake(items.text(one, items.EXECUTION_ID), items.text(one, items.WORKFLOW)) for one in places]
        engine.backend.inbox.send([Outgoing(wake) for wake in wakes])
        for one in places:
            engine.table.delete(Key(hold.line, items.text(one, items.SK)))
    controls._remove(engine, hold)  # pyright: ignore[reportPrivateUsage]
    return True
