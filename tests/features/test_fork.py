"""SPEC 4: fork with another payload, with other results of every kind of step, and refusals; on every backend."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest
from pydantic import BaseModel

from polos import (
    BatchStepResult,
    BatchWorkflowInput,
    EventPayload,
    InvalidPayloadError,
    SerializationError,
    WorkflowContext,
    workflow,
)
from polos.core import items
from tests.features.listing import listed
from tests.laws.worlds import World, law


class Price(BaseModel):
    amount: int
    currency: str = "EUR"


@dataclasses.dataclass
class Size:
    width: int


async def price() -> Price:
    return Price(amount=1)


def size() -> Size:
    return Size(1)


def refuse() -> str:
    raise ValueError("no")


@law
async def test_fork_keeps_nothing_that_the_body_asked_for_later_though_the_clock_stood_still(world: World) -> None:
    @workflow(id="fork-same-moment")
    async def body(ctx: WorkflowContext) -> list[str]:
        return [await ctx.step.run(key, world.effect) for key in ("d", "c", "b", "a")]

    async with world.deploy(body) as env:
        handle = await env.start(body)
        assert await env.finish(handle) == ["d", "c", "b", "a"]
        assert [step.key for step in (await env.describe(handle)).steps] == ["d", "c", "b", "a"]
        world.effects.clear()
        assert await env.finish(await env.client.fork(handle.id, "b", results={"d": "other"})) == [
            "other",
            "c",
            "b",
            "a",
        ]
        assert [key for key, _ in world.effects] == ["b", "a"]


@law
async def test_fork_with_another_result_for_every_kind_of_step(world: World) -> None:
    @workflow(id="fork-kind-child")
    async def child(ctx: WorkflowContext, amount: int) -> Price:
        return Price(amount=amount)

    @workflow(id="fork-kinds")
    async def body(ctx: WorkflowContext) -> list[Any]:
        inputs = [BatchWorkflowInput(id=child.id, payload=n) for n in (1, 2, 3)]
        first = await ctx.step.run("model", price)
        broad = await ctx.step.run("dataclass", size)
        try:
            failed = await ctx.step.run("fails", refuse, max_retries=0)
        except Exception as error:  # noqa: BLE001 - what it is does not matter here
            failed = type(error).__name__
        moment = await ctx.step.now("now")
        await ctx.step.wait_for("nap", seconds=5)
        kid = await ctx.step.invoke_and_wait("kid", child, 4)
        kids = await ctx.step.batch_invoke_and_wait("kids", inputs)
        news = await ctx.step.wait_for_event("news", topic="fork/news")
        answer = await ctx.step.suspend("ask", {"sure": True})
        await ctx.step.run("last", world.effect)
        got = [one.result.amount if one.success else one.error for one in kids]
        return [first.amount, broad.width, failed, moment == 5, kid.amount, got, news.data, news.topic, answer["data"]]

    async with world.deploy(body, child) as env:
        handle = await env.start(body)
        await env.publish("fork/news", "war")
        await env.resume(handle, "ask", "no")
        plain = await env.finish(handle)
        assert plain == [1, 1, "StepExecutionError", False, 4, [1, 2, 3], "war", "fork/news", "no"]

        other = {
            "model": Price(amount=10),
            "dataclass": Size(20),
            "fails": "mended",
            "now": 5,
            "nap": None,
            "kid": Price(amount=40),
            "kids": [
                Price(amount=50),
                BatchStepResult(workflow_id=child.id, success=False, error="burnt"),
                BatchStepResult(workflow_id=child.id, success=True, result=Price(amount=70)),
            ],
            "news": "peace",
            "ask": {"sure": "yes"},
        }
        wanted = [10, 20, "mended", True, 40, [50, "burnt", 70], "peace", "fork/news", {"sure": "yes"}]
        world.effects.clear()
        assert await env.finish(await env.client.fork(handle.id, "last", results=other)) == wanted

        as_json = other | {
            "model": {"amount": 10},
            "dataclass": {"width": 20},
            "kid": {"amount": 40},
            "kids": [
                Price(amount=50),
                {"success": False, "error": "burnt"},
                {"workflow_id": child.id, "success": True, "result": Price(amount=70), "error": None},
            ],
        }
        fork = await env.client.fork(handle.id, "model", results=as_json)
        assert await env.finish(fork) == wanted, "results count also for steps that are not kept"
        assert [key for key, _ in world.effects] == ["last", "last"]
        assert await env.finish(await env.client.fork(fork.id, "last", results={"nap": None})) == wanted
        assert await env.finish(await env.client.fork(handle.id, "last")) == plain


@law
async def test_fork_of_one_that_waits_gives_it_what_it_waits_for(world: World) -> None:
    @workflow(id="fork-waits")
    async def body(ctx: WorkflowContext) -> list[Any]:
        one = await ctx.step.run("one", world.effect)
        news = await ctx.step.wait_for_event("news", topic="fork/never")
        answer = await ctx.step.suspend("ask", {})
        return [one, news.data, answer["data"], isinstance(news, EventPayload)]

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        fork = await env.client.fork(handle.id, from_step="news", results={"news": {"n": 1}})
        await env.settle()
        assert [step.key for step in (await env.describe(fork)).waiting_for] == ["ask"]
        again = await env.client.fork(fork.id, from_step="ask", results={"ask": True})
        assert await env.finish(again) == ["one", {"n": 1}, True, True]
    assert world.ran("one") == 1


@law
async def test_fork_takes_a_whole_event(world: World) -> None:
    @workflow(id="fork-event")
    async def body(ctx: WorkflowContext) -> list[Any]:
        news = await ctx.step.wait_for_event("news", topic="fork/event")
        return [news.id, news.topic, news.event_type, news.data]

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        given = EventPayload(
            id="e", sequence_id=1, topic="else", event_type="x", data=Price(amount=1), created_at=env.now
        )
        fork = await env.client.fork(handle.id, results={"news": given})
        assert await env.finish(fork) == ["e", "else", "x", Price(amount=1)]
        as_json = given.model_dump(mode="json")
        assert await env.finish(await env.client.fork(handle.id, results={"news": as_json})) == [
            "e", "else", "x", {"amount": 1, "currency": "EUR"},
        ]  # fmt: skip


@law
async def test_fork_refuses_a_result_that_a_step_cannot_have_and_writes_nothing(world: World) -> None:
    @workflow(id="fork-bad-child")
    async def child(ctx: WorkflowContext, amount: int) -> Price:
        return Price(amount=amount)

    @workflow(id="fork-bad")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.run("model", price)
        await ctx.step.wait_for("nap", seconds=5)
        await ctx.step.publish_event("tell", "fork/told", 1)
        await ctx.step.invoke("started", child, 1)
        await ctx.step.invoke_and_wait("kid", child, 1)
        await ctx.step.batch_invoke_and_wait("kids", [BatchWorkflowInput(id=child.id, payload=1)])
        await ctx.step.run("last", world.effect)

    async with world.deploy(body, child) as env:
        handle = await env.start(body)
        await env.finish(handle)
        before = len(await listed(env))
        requests = dict(env.requests)
        for results, said in (
            ({"nowhere": 1}, "no step 'nowhere'"),
            ({"nap": 5}, "'nap' has no result"),
            ({"tell": 5}, "'tell' has no result"),
            ({"started": 5}, "'started' started children"),
            ({"kids": 5}, "list of 1 results"),
            ({"kids": [1, 2]}, "list of 1 results"),
            ({"kids": [{"success": "perhaps"}]}, "success"),
            ({"model": {"amount": "many"}}, "amount"),
            ({"kid": {"sum": 1}}, "amount"),
        ):
            with pytest.raises(InvalidPayloadError, match=said):
                await env.client.fork(handle.id, "last", results=results)
        with pytest.raises(SerializationError, match="model"):
            await env.client.fork(handle.id, "last", results={"model": object()})
        assert len(await listed(env)) == before
        made = {name: count - requests.get(name, 0) for name, count in env.requests.items()}
        assert not made.get("PutItem")
        assert not made.get("SendMessageBatch")
        assert not made.get("SendMessage")


@workflow(id="fork-large")
async def large(ctx: WorkflowContext, text: str) -> int:
    await ctx.step.run("first", lambda: 1)
    if ctx.execution_id != "source":
        await ctx.step.wait_for("wait", days=40)
    return len(text)


@law
async def test_a_fork_keeps_a_large_payload_that_expires_with_its_source(world: World) -> None:
    """Each has its own: an object is named after the execution that it is kept for."""
    async with world.deploy(large) as env:
        source = await env.start(large, random.Random(1).randbytes(200_000).hex(), id="source")
        assert await env.finish(source) == 400_000
        fork = await env.client.fork("source", from_step="first")
        await env.settle()
        pointers = [str(one[items.POINTER]) for one in world.records(fork).values() if items.POINTER in one]
        assert [one.startswith(f"{fork.id}#") for one in pointers] == [True]
