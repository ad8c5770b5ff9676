"""SPEC 12, L10: whatever stands in a message, it is refused or handled; it stops and changes nothing of others."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polos import WorkflowContext, workflow
from polos.core import items
from polos.engine.worker import Worker
from polos.errors import InvalidPayloadError
from polos.ports import Message
from polos.testing import Environment
from tests.laws.worlds import World, law

MS = 1_893_456_000_000  # 2030, when the environment begins


@workflow(id="hostile-honest")
async def honest(ctx: WorkflowContext, n: int) -> list[Any]:
    step = await ctx.step.run("step", lambda: n)
    event = await ctx.step.wait_for_event("event", topic="theirs")
    resumed = await ctx.step.suspend("gate", {"shown": 1}, timeout=3600)
    return [step, event.data, resumed["data"]]


@workflow(id="hostile-triggered", trigger_on_event="trigger")
async def triggered(ctx: WorkflowContext, event: dict[str, Any]) -> Any:
    return event


@workflow(id="hostile-batched", trigger_on_event="batches", batch_size=3, batch_timeout_seconds=10)
async def batched(ctx: WorkflowContext, event: dict[str, Any]) -> Any:
    return event


SHAPES: tuple[dict[str, Any], ...] = (
    {"t": "start", "x": "other", "wf": "hostile-honest", "so": {"pd": "x"}, "cr": MS, "in": "1"},
    {"t": "wake", "x": "honest-1", "wf": "hostile-honest", "due": 1, "wsk": "w#0#1#honest-1", "wt": ["t#theirs", "w#"]},
    {"t": "resume", "x": "other", "wf": "hostile-honest", "k": "gate", "v": "1", "at": MS},
    {"t": "cancel", "x": "other", "wf": "hostile-honest", "mode": "cancel", "g": 0},
    {"t": "retry", "x": "honest-1", "wf": "hostile-honest", "n": 1},
    {"t": "unpause", "x": "honest-1", "wf": "hostile-honest", "n": 1},
    {"t": "event", "id": "e", "tp": "theirs", "sq": 5 << 20, "ty": "k", "v": "1"},
    {"t": "event", "id": "e", "tp": "trigger", "sq": MS << 20, "ty": "k", "v": "1"},
    {"t": "event", "id": "e", "tp": "batches", "sq": MS << 20, "ty": "k", "v": "1", "wf": "hostile-batched"},
    {"t": "batch", "wf": "hostile-batched", "due": 1},
    {"t": "tick", "wf": "hostile-honest", "key": "k", "at": MS, "cron": "* * * * *", "tz": "UTC"},
)
NUMBERS = st.sampled_from([-1, 0, 1, 2**53, 2**63, 10**30, -(10**30), 1.5, float("nan"), float("inf"), True])
TEXTS = st.sampled_from(
    [
        *("hostile-honest", "hostile-triggered", "hostile-batched", "other"),
        *("", "x", "#", "w#", "x#y", "../../etc/passwd", "x\ny", "a" * 600),
        *("\ud800", "{}", "[]", "null", '1},"id":"z"', '{"$":"model","of":"os:system","fields":{}}', "9" * 5000),
        *("[" * 5000, "1e999999999", "' OR 1=1 --", "${jndi:x}", "<aws.scheduler.scheduled-time>", "* * * * *"),
    ]
)
VALUES = st.one_of(st.none(), NUMBERS, TEXTS, st.lists(TEXTS, max_size=2), st.dictionaries(TEXTS, TEXTS, max_size=2))
NAMES = st.sampled_from(
    [
        *(
            "t",
            "x",
            "wf",
            "so",
            "cr",
            "in",
            "inz",
            "inp",
            "due",
            "wsk",
            "wt",
            "k",
            "v",
            "vz",
            "vp",
            "at",
            "mode",
            "n",
            "g",
        ),
        *("id", "tp", "sq", "ty", "key", "cron", "tz", "polos", "$", "pk"),
    ]
)
BODIES = st.builds(
    lambda shape, changes, without: {k: v for k, v in {**shape, **changes}.items() if k not in without},
    st.sampled_from(SHAPES),
    st.dictionaries(NAMES, VALUES, min_size=1, max_size=3),
    st.lists(NAMES, max_size=1),
)


def names_an_honest_one(body: dict[str, Any]) -> bool:
    """A well-formed command for an execution is no attack: who may send to the queues may command."""
    commands = body.get("x") == "honest-1" and body.get("t") in ("start", "cancel", "resume")
    return commands or (body.get("t") == "event" and body.get("tp") == "theirs" and body.get("sq") != 5 << 20)


async def hand(environment: Environment, bodies: list[dict[str, Any]]) -> list[BaseException]:
    """Hand over messages as a queue would; what was raised and is not a refusal."""
    worker, raised = Worker(environment.harness.engine), []
    for number, body in enumerate(bodies):
        try:
            message = Message(f"hostile-{number}", body, 1, lambda _: None)
            await asyncio.to_thread(worker.handle, message)
        except InvalidPayloadError:
            continue
        except Exception as error:  # noqa: BLE001 - the test tells it
            raised.append(error)
    return raised


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(bodies=st.lists(BODIES.filter(lambda body: not names_an_honest_one(body)), min_size=1, max_size=12))
def test_12_any_message_is_handled_or_refused_and_honest_executions_go_on(bodies: list[dict[str, Any]]) -> None:
    async def scenario() -> None:
        async with Environment(workflows=[honest, triggered, batched]) as env:
            handle = await env.start(honest, 1, id="honest-1")
            await env.settle()
            assert await hand(env, bodies) == []
            await env.settle()
            await env.publish("theirs", "data", event_id="theirs-1")
            await env.settle()
            await env.resume(handle, "gate", {"ok": True})
            assert await env.finish(handle) == [1, "data", {"ok": True}]

    logging.disable(logging.CRITICAL)
    try:
        asyncio.run(scenario())
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize(
    "data", [{"v": "{"}, {"v": "\ud800"}, {"vz": "eA=="}, {"vp": "nowhere#1.t"}, {"v": "[" * 5000}]
)
@pytest.mark.parametrize("topic", ["theirs", "trigger", "batches"])
@law
async def test_12_an_event_whose_data_cannot_be_read_is_refused_and_reaches_nobody(
    world: World, topic: str, data: dict[str, Any]
) -> None:
    async with world.deploy(honest, triggered, batched) as env:
        handle = await env.start(honest, 1)
        await env.settle()
        worker = Worker(env.harness.engine)
        event = {"t": "event", "id": "bad", "tp": topic, "sq": (MS + 1000) << 20, **data}
        with pytest.raises(InvalidPayloadError, match="event"):
            await asyncio.to_thread(worker.handle, Message("bad", event, 1, lambda _: None))
        await env.settle()
        assert env.harness.engine.table.query(f"t#{topic}", prefix="e#") == []
        assert (await env.describe(handle)).status == "waiting"
        assert list(await env.client.list_executions(workflow_id="hostile-triggered")) == []


@law
async def test_12_a_tick_that_the_workflow_cannot_take_fails_visibly_under_the_tick(world: World) -> None:
    async with world.deploy(honest) as env:
        tick = {"t": "tick", "wf": "hostile-honest", "key": "k", "at": MS, "cron": "* * * * *", "tz": "UTC"}
        assert await hand(env, [tick]) == []
        await env.settle()
        (line,) = await env.client.list_executions(workflow_id="hostile-honest")
        found = await env.describe(line.id)
        assert found.status == "failed"
        assert found.error is not None
        assert found.error.type == "InvalidPayloadError"


@law
async def test_12_an_execution_whose_payload_is_gone_is_still_described(world: World) -> None:
    async with world.deploy(honest) as env:
        handle = await env.start(honest, 1)
        await env.settle()
        table = env.harness.engine.table
        item = table.get(items.execution(handle.id))
        assert item is not None
        table.put({**{name: value for name, value in item.items() if name != "in"}, "inp": "nowhere#1.t"})
        found = await env.describe(handle)
        assert found.status == "waiting"
        assert "missing" in str(found.payload)
