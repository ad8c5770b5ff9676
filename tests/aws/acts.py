"""Everything that the code of a role can do, as acts on a stack: of the functions, the registrar and a client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from polos import BatchWorkflowInput, schedules
from polos.aws.default_bus import EventBridgeDefaultBus
from polos.aws.recurrences import SchedulerRecurrences
from polos.engine import dead_letters, delivery, native, registration, retention
from polos.engine.registration import Declarations, Targets
from polos.errors import BackendError
from polos.testing.harness import Crash
from tests.aws import dying
from tests.aws.roles import LARGE, WORKFLOWS, Stack, child, everything, limited, scheduled, waits_long
from tests.laws.worlds import noise


async def every_act_of_the_functions(stack: Stack) -> None:
    env = stack.env
    await env.client.pause_workflow(child)  # before a function has read what is paused
    held = await env.start(child, 0)
    await env.settle()
    assert (await env.describe(held)).status == "queued"
    await env.client.unpause_workflow(child)
    await env.finish(held)
    handle = await env.start(everything, noise(LARGE), id="all")
    await env.settle()
    await env.advance(hours=4)
    await env.publish("lp/in", noise(LARGE))
    await env.settle()
    await env.resume(handle, "ask", noise(LARGE))
    await env.finish(handle)

    await asyncio.gather(*(env.start(limited, n) for n in range(3)))
    await env.settle()
    await holder_of_a_slot_dies(stack)
    for n in range(4):
        await env.publish("lp/trigger", noise(LARGE), event_id=f"t{n}")
        await env.publish("lp/batch", noise(LARGE), event_id=f"b{n}")
    await env.advance(hours=7)
    await env.put_event("lp.shop", "sold", {"text": noise(20_000)})
    await env.settle()
    for body in ("{not json", "[]"):
        for queue in ("StartQueue", "WakeQueue", "EventsQueue", "NativeEventsQueue"):
            stack.account.aws.sqs.send_message(QueueUrl=stack.account.queue_urls[queue], MessageBody=body)
    await env.settle()
    await deliveries_fail(stack)
    await messages_die(stack)
    await stops(stack)


async def deliveries_fail(stack: Stack) -> None:
    """They are put off, and done later."""

    def away(*_: Any) -> bool:
        raise BackendError("away")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delivery, "deliver", away)
        patch.setattr(native, "deliver", away)
        await stack.env.publish("lp/trigger", 1)
        await stack.env.put_event("lp.shop", "sold", {})
        await stack.env.settle()
    await stack.env.advance(minutes=5)


async def messages_die(stack: Stack) -> None:
    """One in each queue is sent back, one of each kind is given up for good, and one can't be handled at first."""
    env, account = stack.env, stack.account
    handle = await env.start(child, 1)
    dying.give_up(account, "StartQueue")
    await env.finish(handle)
    tick = {"t": "tick", "wf": "lp-child", "key": "k", "cron": "0 8 * * *", "tz": "UTC", "at": "2031-01-02T08:00:00Z"}
    event = {"id": "n", "source": "lp.shop", "detail-type": "sold", "time": "2030-01-01T00:00:00Z", "detail": {}}
    sold = {"t": "native", "wf": "lp-native", "event": event}
    wake = {"t": "wake", "x": handle.id, "wf": "lp-child"}
    for queue, body in (("WakeQueue", wake), ("EventsQueue", tick), ("NativeEventsQueue", sold)):
        for counts in ({}, {"rd": dead_letters.ROUNDS}):
            dying.send(account, queue, body)
            dying.give_up(account, queue, **counts)
            await env.settle()
            await env.advance(minutes=16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dead_letters, "judge", None)
        dying.send(account, "DeadLetters", wake)
        await env.settle()


async def holder_of_a_slot_dies(stack: Stack) -> None:
    """Whoever is next in line asks for the holders."""
    from polos.engine.turn import Turn

    run, died = Turn.run, []

    def die(turn: Turn) -> Any:
        if turn.workflow.id == "lp-limited" and not died:
            died.append(turn.execution_id)
            raise Crash
        return run(turn)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Turn, "run", die)
        await asyncio.gather(*(stack.env.start(limited, n) for n in range(2)))
        await stack.env.settle()
    assert died
    await stack.env.advance(hours=1)


async def stops(stack: Stack) -> None:
    env = stack.env
    for stop in (env.client.cancel_execution, env.client.terminate):
        handle = await env.start(everything, 1)
        await env.settle()
        await env.advance(hours=4)
        await stop(handle.id)
        await env.settle()


async def open_ones_are_kept(stack: Stack) -> None:
    engine = stack.engine("maintenance")
    await stack.env.start(waits_long, noise(LARGE))
    await stack.env.publish("lp/rare", noise(LARGE))
    await stack.env.advance(days=40)
    assert retention.sweep(engine, lambda: 900).renewed == 1
    assert retention.sweep_gathered(engine, lambda: 900).renewed == 1


CLIENT_ACTS: dict[str, Callable[[Stack], Any]] = {}


def act(*names: str) -> Callable[[Any], Any]:
    """Says which of the client's methods an act covers."""

    def note(function: Any) -> Any:
        CLIENT_ACTS.update(dict.fromkeys(names, function))
        return function

    return note


@act("invoke", "batch_invoke", "start_workflow", "wait_for_result")
async def starts(stack: Stack) -> None:
    client = stack.client
    handle = await client.invoke("lp-child", 1)
    large = await everything.start(noise(LARGE), client=client, id="client-large")
    assert (await everything.start(noise(LARGE), client=client, id="client-large")).id == large.id
    await stack.env.settle()
    assert len(await client.wait_for_result(handle.id, 5)) == LARGE
    await client.batch_invoke([BatchWorkflowInput(id="lp-child", payload=2)])


@act("describe", "get_execution", "list_executions", "stream_workflow", "stream_topic")
async def looks(stack: Stack) -> None:
    client = stack.client
    handle = await client.invoke("lp-child", 1)
    await client.publish_events([await client.encode_event("lp/looked", noise(LARGE), None, None)])
    await stack.env.settle()
    await client.describe(handle.id)
    await client.get_execution(handle.id)
    assert await client.list_executions(workflow_id="lp-child")
    assert [event async for event in client.stream_workflow("lp-child", handle.id)]
    async for _ in client.stream_topic("lp/looked", last_sequence_id=0):
        break


@act("cancel_execution", "terminate", "retry", "fork", "pause", "unpause", "resume")
async def steers(stack: Stack) -> None:
    client, env = stack.client, stack.env
    failed = await client.invoke("lp-fails")
    await env.settle()
    await client.retry(failed.id)
    await env.settle()
    await client.fork(failed.id, from_step="no")
    for stop in (client.cancel_execution, client.terminate):
        handle = await client.invoke("lp-all", 1)
        await client.pause(handle.id)
        await client.unpause(handle.id)
        await client.resume("lp-all", handle.id, "ask", noise(LARGE))
        await stop(handle.id)
    await env.settle()


@act("pause_queue", "unpause_queue", "pause_workflow", "unpause_workflow", "list_paused")
async def holds(stack: Stack) -> None:
    client = stack.client
    await client.pause_queue("lp-queue")
    await client.pause_workflow(child)
    assert len(await client.list_paused()) == 2
    await client.unpause_queue("lp-queue")
    await client.unpause_workflow(child)
    await stack.env.settle()


@act("encode_event", "publish_events")
async def publishes(stack: Stack) -> None:
    await stack.client.publish_events([await stack.client.encode_event("lp/x", noise(LARGE), None, None)])


@act("apply_schedule", "list_schedules", "remove_schedule")
async def schedules_ticks(stack: Stack) -> None:
    client = stack.client
    await schedules.create(client, scheduled, "0 3 1 * 1", key="own")
    await schedules.create(client, scheduled, "0 4 * * *", key="own")
    await schedules.pause(client, scheduled, key="own")
    assert await schedules.list(client)
    await schedules.delete(client, scheduled, key="own")


NOT_OF_A_STACK = {"serve", "start", "stop"}
"""They run the worker of the embedded backend."""
BY_OTHER_PERMISSIONS = {"put_event"}
"""On the account's default bus: its docstring names the permission, which no client needs for its work."""


def deployments(stack: Stack) -> None:
    """What the registrar does when schedules and rules come, change and go."""
    settings, clients = stack.account.settings, stack.of("registrar")
    targets = Targets(SchedulerRecurrences(clients, settings), EventBridgeDefaultBus(clients, settings))
    declared = Declarations.of(WORKFLOWS)
    (schedule,), (rule,) = declared.schedules, declared.rules
    changed = Declarations((replace(schedule, cron="0 3 1 * 1"),), (replace(rule, pattern='{"source":["lp.other"]}'),))
    for wanted in (Declarations(), declared, declared, changed, Declarations()):
        registration.register(targets, wanted)
