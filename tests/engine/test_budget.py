"""SPEC section 9: what each act costs in requests, held line by line on both backends.

An act's cost is the difference between a workflow that does it and one that does not.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from polos import StepTimeoutError, WorkflowContext, workflow
from polos.testing import Environment

COUNTED = ("PutItem", "UpdateItem", "DeleteItem", "GetItem", "BatchGetItem", "Query", "CreateSchedule", "PutEvents")


def value(number: int = 0) -> int:
    return number


def kilobyte() -> str:
    return "x" * 1000


tries: Counter[str] = Counter()


def fails_once(execution: str) -> str:
    tries[execution] += 1
    if tries[execution] == 1:
        raise ValueError("not yet")
    return "ok"


@workflow(id="budget_nothing")
async def nothing(ctx: WorkflowContext) -> None:
    pass


@workflow(id="budget_steps")
async def steps(ctx: WorkflowContext, count: int) -> None:
    for number in range(count):
        await ctx.step.run(f"s{number}", kilobyte)


@workflow(id="budget_once")
async def once(ctx: WorkflowContext) -> None:
    await ctx.step.run("s", value, at_most_once=True)


@workflow(id="budget_backoff")
async def backoff(ctx: WorkflowContext) -> None:
    await ctx.step.run("s", fails_once, ctx.execution_id, base_delay=5)


@workflow(id="budget_nap")
async def nap(ctx: WorkflowContext, seconds: float) -> None:
    await ctx.step.wait_for("nap", seconds=seconds)


@workflow(id="budget_event")
async def event(ctx: WorkflowContext, limit: float | None) -> None:
    with contextlib.suppress(StepTimeoutError):
        await ctx.step.wait_for_event("e", topic="budget", timeout=limit)


@workflow(id="budget_child")
async def child(ctx: WorkflowContext) -> int:
    return 1


@workflow(id="budget_parent")
async def parent(ctx: WorkflowContext) -> int:
    return await ctx.step.invoke_and_wait("c", child)


@workflow(id="budget_race")
async def race(ctx: WorkflowContext, count: int) -> None:
    await asyncio.gather(*(ctx.step.run(f"g{number}", value, number) for number in range(count)))
    await ctx.step.run("after", value)


WORKFLOWS = [nothing, steps, once, backoff, nap, event, child, parent, race]
Scenario = Callable[[Environment], Awaitable[None]]


@pytest.fixture(params=["memory", "moto"])
def run(request: pytest.FixtureRequest) -> Callable[[Scenario], None]:
    async def scenario(body: Scenario) -> None:
        async with Environment(backend=request.param, workflows=WORKFLOWS) as env:
            await body(env)

    return lambda body: asyncio.run(scenario(body))


async def cost(env: Environment, wf: Any, payload: Any = None, during: Scenario | None = None) -> Counter[str]:
    """The requests of one execution from its start to its end, sends of every kind as one name."""
    before = Counter(env.requests)
    handle = await env.start(wf, payload)
    if during is not None:
        await env.settle()
        await during(env)
    await env.finish(handle)
    await env.settle()
    spent = Counter(env.requests)
    spent.subtract(before)
    found = Counter({name: spent[name] for name in COUNTED if spent[name]})
    found["Send"] = spent["SendMessage"] + spent["SendMessageBatch"]
    return +found


def only_writes(found: Counter[str]) -> dict[str, int]:
    return {name: number for name, number in found.items() if name != "GetItem" and number}


def more(found: Counter[str], base: Counter[str]) -> dict[str, int]:
    rest = Counter(found)
    rest.subtract(base)
    return only_writes(rest)


def test_start_invocation_and_finish(run: Any) -> None:
    async def body(env: Environment) -> None:
        before = Counter(env.requests)
        await env.start(nothing)
        started = Counter(env.requests)
        started.subtract(before)
        assert +started == {"SendMessage": 1, "PutItem": 1}
        await env.settle()
        # claim and finish; no query on a first invocation
        assert only_writes(await cost(env, nothing)) == {"Send": 1, "PutItem": 1, "UpdateItem": 2}

    run(body)


def test_a_step_is_one_put_and_no_read(run: Any) -> None:
    async def body(env: Environment) -> None:
        three, ten = await cost(env, steps, 3), await cost(env, steps, 10)
        assert more(ten, three) == {"PutItem": 7}
        assert ten["GetItem"] == three["GetItem"]

    run(body)


def test_at_most_once_is_two_puts(run: Any) -> None:
    async def body(env: Environment) -> None:
        assert more(await cost(env, once), await cost(env, nothing)) == {"PutItem": 2}

    run(body)


def test_a_durable_backoff_is_one_put_and_one_send(run: Any) -> None:
    async def body(env: Environment) -> None:
        found = more(await cost(env, backoff), await cost(env, steps, 1))
        assert found == {"PutItem": 1, "Send": 1, "UpdateItem": 2, "Query": 1}  # and suspend, claim, load

    run(body)


def test_the_order_of_a_gather_is_one_put(run: Any) -> None:
    async def body(env: Environment) -> None:
        assert more(await cost(env, race, 10), await cost(env, race, 1)) == {"PutItem": 9 + 1}

    run(body)


def test_sequential_code_writes_no_order(run: Any) -> None:
    async def body(env: Environment) -> None:
        assert more(await cost(env, steps, 5), await cost(env, nothing)) == {"PutItem": 5}

    run(body)


@pytest.mark.parametrize("seconds", [60, 86_400], ids=["delay", "timer"])
def test_a_wait_for_time(run: Any, seconds: float) -> None:
    async def body(env: Environment) -> None:
        armed = {"Send": 1} if seconds <= 900 else {"CreateSchedule": 1}
        found = more(await cost(env, nap, seconds), await cost(env, nothing))
        assert found == {"PutItem": 1, **armed, "UpdateItem": 2, "Query": 1}  # and suspend, claim, load

    run(body)


def test_a_wait_for_an_event(run: Any) -> None:
    async def body(env: Environment) -> None:
        async def publish(env: Environment) -> None:
            before = Counter(env.requests)
            await env.publish("budget", {})
            spent = Counter(env.requests)
            spent.subtract(before)
            assert +spent == {"PutEvents": 1}

        base = await cost(env, nothing)
        found = more(await cost(env, event, None, publish), base)
        # the wait: waiter, outcome, delete, a query in each of two turns; the event: PutEvents, put, query, send;
        # the turn: suspend, claim, load
        assert found == {
            "PutItem": 2 + 1,
            "DeleteItem": 1,
            "Query": 2 + 1 + 1,
            "PutEvents": 1,
            "Send": 1,
            "UpdateItem": 2,
        }

    run(body)


def test_a_wait_for_an_event_with_a_limit(run: Any) -> None:
    async def body(env: Environment) -> None:
        found = more(await cost(env, event, 60), await cost(env, nothing))
        assert found["PutItem"] == 2 + 1
        assert found["Send"] == 1
        assert found["DeleteItem"] == 1
        assert found["Query"] <= 2 + 1

    run(body)


def test_a_child(run: Any) -> None:
    async def body(env: Environment) -> None:
        found = more(await cost(env, parent), await cost(env, nothing))
        # parent: send and mark; suspend, claim, load. Child: claim, finish; its record and the wake.
        assert found == {"Send": 1 + 1, "PutItem": 1 + 1, "UpdateItem": 2 + 2, "Query": 1}

    run(body)


def test_an_early_wake_does_not_touch_the_table(run: Any) -> None:
    async def body(env: Environment) -> None:
        handle = await env.start(nap, 20 * 60.0)  # armed two minutes early
        await env.settle()
        before = Counter(env.requests)
        await env.advance(minutes=19)
        spent = Counter(env.requests)
        spent.subtract(before)
        assert not any(spent[name] for name in COUNTED)
        await env.finish(handle)

    run(body)
