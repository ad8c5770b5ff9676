"""A dead letter meets what moved, owns, ended or was carried out meanwhile (SPEC 8.9, L12)."""

from __future__ import annotations

from typing import Any

import pytest

from polos.aws.dead_letters import PROGRESS, ROUNDS
from polos.core import items
from polos.engine.commands import millis
from tests.aws.dead_letters.parts import LAST, Stack, parent, plain, suspended, wake
from tests.laws.worlds import law


@law
async def test_what_moved_since_is_not_failed(stack: Stack) -> None:
    """Race "dead letter of an execution that moved": its progress is not the one that was seen."""
    execution_id = await suspended(stack)
    stack.bury("WakeQueue", wake(execution_id), rd=LAST, rp=int(stack.item(execution_id)[items.PROGRESS]) - 1)
    stack.handle()

    assert stack.item(execution_id)[items.STATUS] == "waiting"
    (body,) = stack.bodies("WakeQueue")
    assert (body[ROUNDS], body[PROGRESS]) == (1, stack.item(execution_id)[items.PROGRESS])


@law
async def test_what_moves_between_the_look_and_the_write_is_not_failed(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution_id = await suspended(stack)
    seen = int(stack.item(execution_id)[items.PROGRESS])
    give_up = stack.engine.ledger.give_up

    def overtaken(*arguments: Any) -> Any:
        stack.change(execution_id, **{items.PROGRESS: seen + 1})
        return give_up(*arguments)

    monkeypatch.setattr(stack.engine.ledger, "give_up", overtaken)
    stack.bury("WakeQueue", wake(execution_id), rd=LAST, rp=seen)
    stack.handle()

    assert items.ENDED not in stack.item(execution_id)


@law
async def test_a_live_owner_is_left_alone(stack: Stack) -> None:
    execution_id = await suspended(stack)
    until = millis(stack.env.now) + 30_000
    stack.change(execution_id, **{items.LEASE_TOKEN: "somebody", items.LEASE_UNTIL: until})
    stack.bury("WakeQueue", wake(execution_id), rd=LAST, rp=int(stack.item(execution_id)[items.PROGRESS]))
    stack.handle()

    assert items.ENDED not in stack.item(execution_id)


@law
async def test_a_handler_that_dies_after_the_end_tells_the_parent_the_next_time(stack: Stack) -> None:
    handle = await stack.env.start(parent)
    stack.invoke("StartQueue")
    (body,) = stack.bodies("StartQueue")
    told = stack.engine.wake

    def dies(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    stack.engine.wake = dies  # type: ignore[method-assign]
    stack.give_up("StartQueue", rd=LAST)
    with pytest.raises(KeyboardInterrupt):
        stack.invoke("DeadLetters")
    assert stack.item(body["x"])[items.STATUS] == "failed"
    stack.engine.wake = told  # type: ignore[method-assign]

    assert (await stack.env.finish(handle)).startswith("failed: ")


@law
async def test_a_start_that_was_carried_out_meanwhile_stands(stack: Stack) -> None:
    handle = await stack.env.start(plain)
    (body,) = stack.bodies("StartQueue")
    await stack.env.settle()
    stack.bury("StartQueue", body, rd=LAST)
    stack.handle()

    assert stack.item(handle.id)[items.STATUS] == "completed"
    assert "what follows its end" in stack.kept[0]
