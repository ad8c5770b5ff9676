"""What can never be carried out is a failed execution that people see, and never silence (SPEC 8.9, L14)."""

from __future__ import annotations

import json
from typing import Any

from polos.core import items
from polos.engine.commands import Start
from polos.errors import BackendError
from tests.aws.dead_letters.parts import LAST, Stack, effects, parent, suspended, wake
from tests.laws.worlds import law, noise


@law
async def test_an_execution_that_does_not_move_fails_visibly(stack: Stack) -> None:
    execution_id = await suspended(stack)
    stack.bury("WakeQueue", wake(execution_id), rd=LAST, rp=int(stack.item(execution_id)[items.PROGRESS]))
    stack.handle()

    detail = await stack.env.client.describe(execution_id)
    assert (detail.status, detail.error and detail.error.type) == ("failed", "UndeliverableError")
    listed = await stack.env.client.list_executions(status="failed")
    assert [one.id for one in listed] == [execution_id]


@law
async def test_a_retry_brings_it_back(stack: Stack) -> None:
    execution_id = await suspended(stack)
    stack.bury("WakeQueue", wake(execution_id), rd=LAST, rp=int(stack.item(execution_id)[items.PROGRESS]))
    stack.handle()
    await stack.env.settle()

    await stack.env.client.retry(execution_id)
    await stack.env.settle()

    assert stack.item(execution_id)[items.STATUS] == "waiting"


@law
async def test_a_start_that_is_never_carried_out_is_recorded_and_its_parent_told(stack: Stack) -> None:
    handle = await stack.env.start(parent)
    stack.invoke("StartQueue")
    stack.give_up("StartQueue", rd=LAST)

    result = await stack.env.finish(handle)

    assert result.startswith("failed: ")
    assert "UndeliverableError" in result or "gave up a 'start' message" in result
    assert effects == []


@law
async def test_a_tick_that_is_never_carried_out_is_recorded_as_a_failed_execution(stack: Stack) -> None:
    tick = {"t": "tick", "wf": "dead-plain", "key": "k", "cron": "0 8 * * *", "tz": "UTC", "at": "2030-01-02T08:00:00Z"}
    stack.bury("EventsQueue", tick, rd=LAST)
    stack.handle()

    (one,) = await stack.env.client.list_executions(workflow_id="dead-plain")
    assert one.status == "failed"


@law
async def test_a_start_that_was_given_up_keeps_its_long_payload_for_a_retry(stack: Stack) -> None:
    text = noise(2_000)
    stored = stack.engine.stash(json.dumps(text), "given-up", "it")
    start = Start.of("given-up", "dead-echo", stored, stack.engine.now(), {})
    assert start.payload_item() is not None
    stack.bury("StartQueue", dict(start.message().body), rd=LAST)
    stack.handle()
    await stack.env.settle()
    assert stack.item("given-up")[items.STATUS] == "failed"

    await stack.env.client.retry("given-up")
    await stack.env.settle()

    assert (await stack.env.client.describe("given-up")).result == text


@law
async def test_an_execution_whose_every_turn_meets_an_error_of_the_backend_fails_in_the_end(stack: Stack) -> None:
    """A lease that is given back after an error is no progress."""
    execution_id = await suspended(stack)
    stack.send("WakeQueue", wake(execution_id))
    stack.give_up("WakeQueue", rd=LAST - 1)
    stack.handle()

    def down(*_: Any, **__: Any) -> Any:
        raise BackendError("down")

    query, stack.engine.table.query = stack.engine.table.query, down  # type: ignore[method-assign]
    for _ in range(3):
        stack.env._open.clock.advance(1_000)
        stack.invoke("WakeQueue")
    stack.engine.table.query = query  # type: ignore[method-assign]
    stack.give_up("WakeQueue")
    stack.handle()

    assert stack.item(execution_id)[items.STATUS] == "failed"
