"""SPEC section 9, the lines that need several executions or a long run: slots, live leases, heartbeats, events, fan-in.

The other lines, of one execution alone, are in `test_budget.py`.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from polos import BatchWorkflowInput, Queue, WorkflowContext, workflow
from polos.testing import Environment
from tests.laws.worlds import World, law

TABLE = ("PutItem", "UpdateItem", "DeleteItem", "GetItem", "BatchGetItem", "Query")
OTHERS = ("SendMessage", "SendMessageBatch", "PutEvents", "CreateSchedule", "ChangeMessageVisibility")


@contextmanager
def spent(env: Environment) -> Iterator[dict[str, int]]:
    """The requests that are made meanwhile, without those of the poller."""
    before, found = Counter(env.requests), {}
    yield found
    after = Counter(env.requests)
    after.subtract(before)
    found |= {name: after[name] for name in (*TABLE, *OTHERS) if after[name]}


def of_table(found: dict[str, int]) -> dict[str, int]:
    return {name: number for name, number in found.items() if name in TABLE}


def total(found: dict[str, int]) -> int:
    return sum(found.values())


@law
async def test_an_invocation_changes_the_visibility_of_its_message_once(world: World) -> None:
    @workflow(id="budget-plain")
    async def body(ctx: WorkflowContext) -> None: ...

    async with world.deploy(body) as env:
        await env.start(body)
        with spent(env) as found:
            await env.settle()
    assert found.pop("ChangeMessageVisibility", 0) <= 1
    assert of_table(found) == {"UpdateItem": 2}, "claim and finish"


@law
async def test_a_heartbeat_is_one_update_and_one_visibility_change(world: World) -> None:
    """One every 15 seconds (`test_L13_the_numbers_of_the_lease`); here they come at once, for they are real time."""
    go = threading.Event()

    @workflow(id="budget-long")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.run("long", go.wait, 20)

    async with world.deploy(body) as env:
        world.limits(renew=0.002)
        await env.start(body)
        with spent(env) as found:
            owner = world.begin()
            await world.until(lambda: world.renewals >= 5)
            go.set()
            await owner.end()
    assert found.pop("ChangeMessageVisibility", 0) <= 1 + world.renewals
    assert found == {"PutItem": 1, "UpdateItem": 2 + world.renewals}


@law
async def test_a_wake_that_meets_a_live_lease_is_two_updates_and_of_the_owner_a_get_and_a_query(world: World) -> None:
    @workflow(id="budget-met")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.run("a", str)
        await ctx.step.wait_for("nap", days=1)

    async with world.deploy(body) as env:
        lines: dict[bool, Counter[str]] = {}
        for met in (False, True):
            handle = await env.start(body)
            gate = world.wire.block("put r#a")
            owner = world.begin()
            await gate.reach()
            world.wire.lines.clear()
            if met:
                world.wake_is_spent(handle.id, body.id)
            gate.release()
            await owner.end()
            lines[met] = Counter(line.split(" ", 1)[0] for line in world.wire.lines)
            await env.client.terminate(handle.id)
            await env.settle()
        more = lines[True]
        more.subtract(lines[False])
        more = +more
        more.pop("answer", None)
    updates = sum(more.pop(name, 0) for name in ("claim", "mark", "renew", "spend", "suspend"))
    assert updates <= 2 + 1, "a claim that failed, the mark; of the owner its clearing"
    assert more.pop("get", 0) <= 1
    assert more.pop("query", 0) <= 1
    assert not more


@law
async def test_a_free_slot_is_two_updates_and_a_query(world: World) -> None:
    @workflow(id="budget-unlimited")
    async def unlimited(ctx: WorkflowContext) -> None: ...

    @workflow(id="budget-limited", queue=Queue("budget-limited", 2))
    async def limited(ctx: WorkflowContext) -> None: ...

    async with world.deploy(unlimited, limited) as env:
        found: dict[str, dict[str, int]] = {}
        for wf in (unlimited, limited):
            await env.start(wf)
            with spent(env) as found[wf.id]:
                await env.settle()
        more = Counter(found["budget-limited"])
        more.subtract(found["budget-unlimited"])
    assert +more == {"UpdateItem": 2, "Query": 1}


@law
async def test_a_contended_slot_is_at_most_nine_requests_more(world: World) -> None:
    """Ten executions for one slot, each of which meets it taken, against the same ten one after the other."""

    @workflow(id="budget-contended", queue=Queue("budget-contended", 1))
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.run("work", str)

    count = 10
    async with world.deploy(body) as env:
        with spent(env) as free:
            for _ in range(count):
                await env.start(body)
                await env.settle()
        with spent(env) as contended:
            await env.start(body)
            gate = world.wire.block("put r#work")
            holder = world.begin()
            await gate.reach()
            for _ in range(count - 1):
                await env.start(body)
                await world.begin().end()
                env.harness.clock.advance(0.1)
            gate.release()
            await holder.end()
            await env.settle()
        assert world.renewals == 0
    free.pop("ChangeMessageVisibility", None)
    contended.pop("ChangeMessageVisibility", None)
    # standing in line ends an invocation (suspend) and begins another (claim, load): 3 of the line "invocation"
    assert total(contended) - total(free) <= (count - 1) * (9 + 3)


@pytest.mark.parametrize("waits", [0, 1, 5])
@law
async def test_an_event_is_published_read_and_sent_on_once_for_each_wait_that_matches(world: World, waits: int) -> None:
    @workflow(id="budget-waits")
    async def body(ctx: WorkflowContext) -> Any:
        return (await ctx.step.wait_for_event("e", "budget/waits")).data

    async with world.deploy(body) as env:
        for _ in range(waits):
            await env.start(body)
        await env.settle()
        with spent(env) as published:
            await env.publish("budget/waits", 1)
        with spent(env) as delivered:
            delivery = world.take()
            await world.begin(delivery).end()
        sent = delivered.pop("SendMessage", 0) + delivered.pop("SendMessageBatch", 0)
        delivered.pop("ChangeMessageVisibility", 0)
    assert published == {"PutEvents": 1}
    assert delivered == {"PutItem": 1, "Query": 1}
    assert sent <= waits


@law
async def test_a_fan_in_is_at_most_two_writes_more_for_each_child(world: World) -> None:
    @workflow(id="budget-fan-child")
    async def child(ctx: WorkflowContext, n: int) -> int:
        return n

    @workflow(id="budget-fan")
    async def fan(ctx: WorkflowContext, size: int) -> int:
        inputs = [BatchWorkflowInput(id="budget-fan-child", payload=n) for n in range(size)]
        return len(await ctx.step.batch_invoke_and_wait("all", inputs))

    async with world.deploy(fan, child) as env:
        writes: dict[int, int] = {}
        sends: dict[int, int] = {}
        for size in (10, 30):
            with spent(env) as found:
                handle = await env.start(fan, size)
                assert await env.finish(handle) == size
                await env.settle()
            writes[size] = found["PutItem"] + found["UpdateItem"] + found.get("DeleteItem", 0)
            sends[size] = found.get("SendMessage", 0) + found.get("SendMessageBatch", 0)
            assert (await env.describe(handle)).invocations <= 3
    # claim and finish of the child's own invocation; its outcome and at most two writes more for the fan-in
    assert (writes[30] - writes[10]) / 20 <= 2 + 1 + 2
    assert (sends[30] - sends[10]) / 20 <= 2
