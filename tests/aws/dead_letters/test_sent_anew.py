"""A dead message goes back to its queue, later each time, and does what it would have done (SPEC 8.9)."""

from __future__ import annotations

import random

import pytest

from polos.aws.dead_letters import ROUNDS
from polos.core import items
from polos.engine.commands import millis
from polos.errors import BackendError
from tests.aws.dead_letters.parts import Stack, effects, plain, suspended, waiting, wake
from tests.laws.worlds import law


def denied(_: object, key: str) -> bytes:
    raise BackendError(f"GetObject of {key}: AccessDenied")


@law
async def test_a_dead_start_goes_on_and_runs_once(stack: Stack) -> None:
    handle = await stack.env.start(plain)
    stack.give_up("StartQueue")

    assert await stack.env.finish(handle) == "done"
    assert effects == [handle.id]


@law
async def test_a_dead_message_goes_back_to_its_queue_later_each_time_and_is_noted(stack: Stack) -> None:
    execution_id = await suspended(stack)
    delays: list[int] = []
    stack.send("WakeQueue", wake(execution_id))
    for _ in range(6):
        stack.give_up("WakeQueue")
        stack.handle()
        (message,) = stack.account.queue("WakeQueue")._messages
        delays.append(round((message.delayed_until - millis(stack.env.now)) / 1000))

    assert delays == [60, 120, 240, 480, 900, 900]
    assert stack.bodies("WakeQueue")[0][ROUNDS] == 6
    assert stack.item(execution_id)[items.REDRIVEN] == 6


@law
async def test_a_dead_resume_and_a_dead_cancel_do_what_they_would_have_done(stack: Stack) -> None:
    handle = await stack.env.start(waiting)
    await stack.env.settle()
    await stack.env.resume(handle, "ask", "yes")
    stack.give_up("WakeQueue")
    assert await stack.env.finish(handle) == "yes"

    other = await stack.env.start(waiting)
    await stack.env.settle()
    await stack.env.cancel(other)
    stack.give_up("WakeQueue")
    await stack.env.advance(minutes=2)
    assert (await stack.env.describe(other)).status == "cancelled"


@law
async def test_a_dead_event_goes_back_to_the_events_queue(stack: Stack) -> None:
    await stack.env.publish("somewhere", {"n": 1})
    stack.give_up("EventsQueue")
    stack.handle()

    (body,) = stack.bodies("EventsQueue")
    assert (body["detail"]["tp"], body[ROUNDS]) == ("somewhere", 1)


@law
async def test_a_dead_letter_that_comes_twice_works_once(stack: Stack) -> None:
    handle = await stack.env.start(plain)
    (body,) = stack.bodies("StartQueue")
    stack.give_up("StartQueue")
    stack.bury("StartQueue", body)

    assert await stack.env.finish(handle) == "done"
    assert effects == [handle.id]


@law
async def test_a_dead_event_and_a_dead_resume_go_back_whose_data_is_stored_elsewhere(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handler of dead letters has no right to read the bucket, and need not."""
    handle = await stack.env.start(waiting)
    await stack.env.settle()
    await stack.env.resume(handle, "ask", random.Random(1).randbytes(300_000).hex())
    with monkeypatch.context() as patch:
        patch.setattr(type(stack.engine.vault._payloads), "get", denied)
        stack.give_up("WakeQueue")
        stack.handle()
    assert len(stack.kept) == 0
    assert len(await stack.env.finish(handle)) == 600_000
