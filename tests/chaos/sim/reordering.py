"""Effects in the wrong order, for the mutants: a message before its record, a record before what it points to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from polos.core import items
from polos.core.conditions import Item
from polos.core.items import Key
from polos.engine import children, commands, delivery, duties
from polos.engine.engine import Engine
from polos.engine.steps import Attempts
from polos.engine.vault import Vault
from polos.engine.waits import Waits
from tests.chaos.sim.messages import Queue, Sent
from tests.chaos.sim.ports import SimInbox
from tests.chaos.sim.strands import Invocation, here

Patch = tuple[Any, str, Any]
_held: dict[Invocation, list[tuple[SimInbox, Any]]] = {}
_send = SimInbox.send


def hold(self: SimInbox, messages: Any) -> None:
    held = _held.get(here())
    if held is None:
        _send(self, messages)
    else:
        held.append((self, messages))


def sending_last(function: Callable[..., Any]) -> tuple[Patch, ...]:
    """The same function, whose messages are sent after its writes."""

    def run(*given: Any) -> Any:
        invocation = here()
        held = _held[invocation] = []
        try:
            result = function(*given)
        finally:
            del _held[invocation]
        for inbox, messages in held:
            inbox.send(messages)
        return result

    return ((SimInbox, "send", hold), (_owner_of(function), function.__name__, run))


def _owner_of(function: Callable[..., Any]) -> Any:
    return {"begin": children, "begin_batch": children, "_arm": Waits, "_failed": Attempts}[function.__name__]


def tell_parent_first(engine: Any, execution: Item) -> None:
    parent = commands.parent_of(execution)
    if parent.get("wait") and items.NEXT not in execution and "n" not in parent:
        engine.wake(parent["x"], parent["wf"])
        invocation = here()
        _held[invocation] = []
        try:
            _tell_parent(engine, execution)
        finally:
            del _held[invocation]
    else:
        _tell_parent(engine, execution)


_tell_parent = children.tell_parent
_perform = duties.perform
_late_duties: dict[Invocation, list[Callable[[], None]]] = {}


def duties_later(engine: Engine, execution: Item, place: str = "") -> None:
    _late_duties.setdefault(here(), []).append(lambda: _perform(engine, execution, place))


_handle = Queue._handle  # pyright: ignore[reportPrivateUsage]


def handle_then_duties(self: Queue, invocation: Invocation, message: Sent) -> None:
    try:
        _handle(self, invocation, message)
    finally:
        late = _late_duties.pop(invocation, [])
    for duty in late:
        duty()


def stash_later(self: Vault, text: str, *, owner: str, what: str) -> Any:
    invocation = here()
    payloads = self._payloads  # pyright: ignore[reportPrivateUsage]

    class Later:
        def put(self, key: str, data: bytes) -> None:
            invocation.world.spawn(invocation, lambda: payloads.put(key, data), 0.3)

    return _stash(Vault(Later(), self._limits, self._codec), text, owner=owner, what=what)  # type: ignore[arg-type]


_stash = Vault.stash


def deliver_reading_first(engine: Any, event: Any) -> bool:
    """Read the waiters, then put the event."""
    partition = items.topic(event.topic)
    waiters = engine.table.query(partition, prefix="w#")
    key = Key(partition, items.event_sk(event.sequence, event.id))
    engine.ledger.note(key, delivery.event_attributes(engine, event))
    for waiter in waiters:
        if waiter.get(items.EVENT_TYPE, event.event_type) == event.event_type:
            engine.wake(items.text(waiter, items.EXECUTION_ID), items.text(waiter, items.WORKFLOW))
    return True
