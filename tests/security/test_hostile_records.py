"""SPEC 2.4, 12: what stands in a record is data, whoever wrote it: nothing is imported or run, and nothing fills up."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import tracemalloc
import zlib
from collections.abc import Generator
from typing import Any

import pytest

from polos import Polos, PolosError, WorkflowContext, WorkflowFailedError, workflow
from polos.core import items
from polos.engine import commands
from polos.engine.worker import Worker
from polos.ports import Message
from tests.laws.worlds import World, law

HOSTILE: tuple[Any, ...] = (
    '{"$":"model","of":"antigravity:fly","fields":{}}',
    '{"$":"dataclass","of":"subprocess:Popen","fields":{"args":"true"}}',
    '{"$":"enum","of":"this:s","v":"x"}',
    '{"$":"decimal","v":"1e999999999999999999999"}',
    '{"$":"int","v":"0x' + "f" * 100_000 + '"}',
    '{"$":"datetime","v":"2030-01-01","zone":"../../../../etc/passwd"}',
    '{"__proto__":{"polluted":1},"constructor":{"prototype":1}}',
    "[" * 100_000,
    "9" * 100_000,
    "1e999",
    '"\\ud800"',
    "null\x00",
    zlib.compress(b'"' + b" " * 60_000_000 + b'"', 9),
    zlib.compress(b"[1,2]")[:-3],
)


@pytest.fixture(autouse=True)
def quiet() -> Generator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@workflow(id="tampered", max_retries=0)
async def tampered(ctx: WorkflowContext) -> str:
    found = await ctx.step.run("step", lambda: "honest")
    await ctx.step.wait_for("rest", hours=1)
    return f"{type(found).__name__}"


@law
@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value[:24]))
async def test_2_4_a_hostile_record_is_a_value_or_fails_its_own_run_with_a_sentence(world: World, value: Any) -> None:
    async with world.deploy(tampered) as env:
        bystander = await env.start(tampered, id="bystander")
        run = await env.start(tampered, id="run")
        await env.settle()
        record = world.records(run)["r#step"]
        world.table.put({**record, items.VALUE: value})
        modules = set(sys.modules)
        tracemalloc.start()
        try:
            shown = await env.describe(run)
            assert [step.key for step in shown.steps] == ["step", "rest"]
            with contextlib.suppress(WorkflowFailedError):
                assert await env.finish(run) in ("dict", "float", "int", "str")
            assert tracemalloc.get_traced_memory()[1] < 400_000_000
        finally:
            tracemalloc.stop()
        error = (await env.describe(run)).error
        assert error is None or error.type in ("SerializationError", "PayloadTooLargeError")
        assert not {"antigravity", "this"} & (set(sys.modules) - modules)
        assert await env.finish(bystander) == "str"
        assert len(await env.client.list_executions()) == 2


@workflow(id="guarded")
async def guarded(ctx: WorkflowContext) -> list[Any]:
    paid = await ctx.step.run("charge", lambda: "paid")
    await ctx.step.wait_for("rest", hours=5)
    event = await ctx.step.wait_for_event("event", "guarded", timeout=3600)
    return [paid, event.data]


@law
async def test_12_a_forged_wake_changes_nothing(world: World) -> None:
    async with world.deploy(guarded) as env:
        run = await env.start(guarded, id="run")
        await env.settle()
        before = {sk: item for sk, item in world.records(run).items() if sk != items.EXECUTION}
        for number, extra in enumerate(({}, {"due": 1}, {"wsk": "w#0#1#run"}, {"wt": ["t#guarded", "w#run#event"]})):
            body = {**commands.wake("run", "guarded"), **extra}
            await asyncio.to_thread(
                Worker(env.harness.engine).handle, Message(f"forged-{number}", body, 1, lambda _: None)
            )
        await env.settle()
        assert {sk: item for sk, item in world.records(run).items() if sk != items.EXECUTION} == before
        await env.advance(hours=5)
        await env.publish("guarded", "true")
        assert await env.finish(run) == ["paid", "true"]


@law
@pytest.mark.parametrize("key", ["charge", "rest", "event", "later", "polos:on_start"])
async def test_12_a_forged_resume_decides_nothing_but_a_suspend(world: World, key: str) -> None:
    async with world.deploy(guarded) as env:
        run = await env.start(guarded, id="run")
        await env.resume(run, key, "forged")
        await env.settle()
        await env.resume(run, key, "forged again")
        await env.advance(hours=5)
        await env.publish("guarded", "true")
        assert await env.finish(run) == ["paid", "true"]


@law
async def test_5_an_event_that_looks_like_a_resume_resumes_nothing(world: World) -> None:
    @workflow(id="asking")
    async def asking(ctx: WorkflowContext) -> Any:
        return (await ctx.step.suspend("gate", {}))["data"]

    async def forge(client: Polos, topic: str) -> None:
        try:
            event = await client.encode_event(topic, {"x": "run", "k": "gate", "v": "forged"}, "resume_gate", None)
            await client.publish_events([event])
        except PolosError:
            return  # refused: that is as good

    async with world.deploy(asking) as env:
        run = await env.start(asking, id="run")
        await env.settle()
        for topic in ("run", "gate", "resume_gate", "run/gate", "workflow/asking/run", "u#gate"):
            await forge(env.client, topic)
        await env.settle()
        assert (await env.describe(run)).status == "waiting"
        await env.resume(run, "gate", "true")
        assert await env.finish(run) == "true"
