"""What the mutants of pauses put in the place of the engine's own functions: each takes one rule of "Holds" away."""

from __future__ import annotations

from typing import Any

from polos.core import items
from polos.core.conditions import Item
from polos.core.items import Key
from polos.engine import commands, controls
from polos.engine.controls import Controls, Hold
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


def read_then_stand_in_line(turn: Any, hold: Hold) -> Hold | None:
    """Look whether it is still paused, then take the place."""
    engine, item = turn.engine, turn.execution
    turn.lease.check()
    found = engine.controls.still_held(item)
    if found is None:
        return None
    place = f"w#{items.number(item, items.CREATED):015d}#{turn.execution_id}"
    about = {items.EXECUTION_ID: turn.execution_id, items.WORKFLOW: turn.workflow.id}
    turn.lease.check()
    engine.table.put(items.keyed(Key(found.line, place), about))
    return found


def remove_then_send(engine: Any, kind: str, name: str) -> None:
    """End the pause, then ask for those in its line to be woken."""
    for hold in engine.controls.refresh():
        if (hold.kind, hold.name) == (kind, name):
            controls._remove(engine, hold)  # pyright: ignore[reportPrivateUsage]
            engine.backend.inbox.send([controls._message(hold)])  # pyright: ignore[reportPrivateUsage]


def known_alone(own: Controls, execution: Item) -> bool:
    """What was known when the turn began, or at its last heartbeat, is believed however old it is."""
    return controls._find(own._known, execution) is None  # pyright: ignore[reportPrivateUsage]
