"""Each role may do what its code does and nothing else: the requests of every act, against the template (SPEC 8.9).

The driver does everything that a role's code can do; each role's requests are noted under its own clients. A permission
that is missing, or that nothing used, is named. What a service asks for by itself (a key, X-Ray) is not looked at here.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from polos import (
    BatchEventPayload,
    BatchWorkflowInput,
    EventPattern,
    EventPayload,
    Polos,
    WorkflowContext,
    schedules,
    workflow,
)
from polos.aws.backend import aws_backend
from polos.aws.default_bus import EventBridgeDefaultBus
from polos.aws.entry import Service, handler_of
from polos.aws.recurrences import SchedulerRecurrences
from polos.aws.settings import Settings
from polos.aws.telemetry import Silent
from polos.aws.visibility import Visibility
from polos.engine import dead_letters, registration, retention
from polos.engine.engine import Engine
from polos.engine.registration import Declarations, Targets
from polos.testing import Environment, moto_template
from polos.testing.harness import Crash
from polos.testing.moto_harness import MotoHarness
from polos.testing.moto_template import REGION
from tests.aws import dying
from tests.aws.permissions import Names, Need, Recorded, grants, of_platform
from tests.laws.worlds import noise

TEMPLATE = moto_template.load(moto_template.find())
RESOURCES: dict[str, Any] = TEMPLATE["Resources"]
FUNCTIONS = {
    str(one["Properties"]["Handler"]).split(".")[1]: one
    for one in RESOURCES.values()
    if one["Type"] == "AWS::Serverless::Function"
}
LARGE = 220_000


@workflow(id="lp-child")
async def child(ctx: WorkflowContext, n: int) -> str:
    return await ctx.step.run("make", lambda: noise(LARGE))


@workflow(id="lp-waits")
async def waits_long(ctx: WorkflowContext, text: str) -> None:
    await ctx.step.wait_for("long", days=300)


@workflow(id="lp-all")
async def everything(ctx: WorkflowContext, payload: Any) -> str:
    await ctx.step.run("large", lambda: noise(LARGE))
    await ctx.step.wait_for("short", seconds=30)
    await ctx.step.wait_for("long", hours=3)
    await ctx.step.publish_event("publish", "lp/out", noise(LARGE))
    await ctx.step.wait_for_event("event", "lp/in", timeout=timedelta(days=2))
    answer = await ctx.step.suspend("ask", {"q": 1}, timeout=timedelta(days=2))
    await ctx.step.invoke_and_wait("one", child, 1)
    await ctx.step.batch_invoke_and_wait("many", [BatchWorkflowInput(id="lp-child", payload=n) for n in range(3)])
    return str(answer["data"])


@workflow(id="lp-limited", queue={"name": "lp-queue", "concurrency_limit": 1})
async def limited(ctx: WorkflowContext, n: int) -> int:
    return await ctx.step.run("step", lambda: n)


@workflow(id="lp-triggered", trigger_on_event="lp/trigger")
async def triggered(ctx: WorkflowContext, event: EventPayload) -> None: ...


@workflow(id="lp-batched", trigger_on_event="lp/batch", batch_size=3, batch_timeout_seconds=1000)
async def batched(ctx: WorkflowContext, events: BatchEventPayload) -> None: ...


@workflow(id="lp-native", trigger_on_event=EventPattern({"source": ["lp.shop"]}))
async def native(ctx: WorkflowContext, event: dict[str, Any]) -> None: ...


@workflow(id="lp-scheduled", schedule={"cron": "0 */6 * * *", "key": "six"})
async def scheduled(ctx: WorkflowContext) -> None: ...


@workflow(id="lp-fails", max_retries=0)
async def fails(ctx: WorkflowContext) -> None:
    await ctx.step.run("kept", lambda: noise(LARGE))
    await ctx.step.run("no", lambda: [].pop(), max_retries=0)


WORKFLOWS = [everything, child, limited, triggered, batched, native, scheduled, fails, waits_long]


class Stack:
    """A stack under moto in which each role has clients of its own, that note what their requests need."""

    def __init__(self, env: Environment) -> None:
        harness = env.harness
        assert isinstance(harness, MotoHarness)
        self.env, self.harness, self.account = env, harness, harness.account
        self.clients: dict[str, Recorded] = {}
        self.names = Names(self.account)
        for source in self.account.sources:
            role = source.handler.split(".")[-2]
            harness.handlers[source.queue] = handler_of(self._service(role), role)
        self.client = Polos(engine=self._engine("client"))

    def of(self, role: str) -> Recorded:
        return self.clients.setdefault(role, Recorded(self.account.session))

    def _engine(self, role: str) -> Engine:
        limits = self.harness.engine.limits
        backend = aws_backend(self.account.settings, self.account.clock, clients=self.of(role), limits=limits)
        return Engine(backend, workflows=self.harness.engine.workflows)

    def _service(self, role: str) -> Service:
        settings = self.account.settings
        return Service(self._engine(role), settings, Visibility(self.of(role), settings), Silent())

    def used(self, role: str) -> set[Need]:
        found = set(self.of(role).needs)
        return found | of_platform(FUNCTIONS[role], self.names) if role in FUNCTIONS else found

    def check(self, role: str, resource: str) -> tuple[list[str], list[str]]:
        """What a role lacks, and what it has and does not use."""
        given, used = grants(RESOURCES[resource], self.names), self.used(role)
        missing = [str(need) for need in sorted(used) if not any(grant.covers(need) for grant in given)]
        unused = [str(grant) for grant in given if not any(grant.covers(need) for need in used)]
        return missing, unused


# ---- the acts


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
    await messages_die(stack)
    await stops(stack)


async def messages_die(stack: Stack) -> None:
    """One in each queue is sent back, one of each kind is given up for good, and one can't be handled at first."""
    env, account = stack.env, stack.account
    handle = await env.start(child, 1)
    dying.give_up(account, "StartQueue")
    await env.finish(handle)
    tick = {"t": "tick", "wf": "lp-child", "key": "k", "cron": "0 8 * * *", "tz": "UTC", "at": "2031-01-02T08:00:00Z"}
    event = {"id": "n", "source": "lp.shop", "detail-type": "sold", "time": "2030-01-01T00:00:00Z", "detail": {}}
    native = {"t": "native", "wf": "lp-native", "event": event}
    wake = {"t": "wake", "x": handle.id, "wf": "lp-child"}
    for queue, body in (("WakeQueue", wake), ("EventsQueue", tick), ("NativeEventsQueue", native)):
        for counts in ({}, {"rd": dead_letters.ROUNDS}):
            dying.send(account, queue, body)
            dying.give_up(account, queue, **counts)
            await env.settle()
            await env.advance(minutes=16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dead_letters, "judge", None)
        dying.send(account, "DeadLetters", wake)
        await env.settle()


async def open_ones_are_kept(stack: Stack) -> None:
    engine = stack._engine("maintenance")
    await stack.env.start(waits_long, noise(LARGE))
    await stack.env.advance(days=40)
    assert retention.sweep(engine, lambda: 900).renewed == 1


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


# ---- what is held


def on_a_stack(run: Callable[[Stack], Any]) -> None:
    async def main() -> None:
        async with Environment("moto", workflows=WORKFLOWS) as env:
            await run(Stack(env))

    asyncio.run(main())


@pytest.mark.timeout(180)  # it does everything that there is to do
def test_the_functions_may_do_what_their_code_does_and_nothing_else() -> None:
    async def run(stack: Stack) -> None:
        await every_act_of_the_functions(stack)
        for role, resource in (("work", "WorkRole"), ("events", "EventsRole"), ("dead_letters", "DeadLettersRole")):
            missing, unused = stack.check(role, resource)
            assert missing == [], f"{resource} lacks"
            assert unused == [], f"{resource} has and does not use"

    on_a_stack(run)


def test_the_registrar_may_do_what_deployments_ask_for_and_nothing_else() -> None:
    async def run(stack: Stack) -> None:
        deployments(stack)
        missing, unused = stack.check("registrar", "RegistrarRole")
        assert missing == [], "RegistrarRole lacks"
        assert unused == [], "RegistrarRole has and does not use"

    on_a_stack(run)


def test_the_maintenance_may_keep_what_is_open_and_nothing_else() -> None:
    async def run(stack: Stack) -> None:
        await open_ones_are_kept(stack)
        missing, unused = stack.check("maintenance", "MaintenanceRole")
        assert missing == [], "MaintenanceRole lacks"
        assert unused == [], "MaintenanceRole has and does not use"

    on_a_stack(run)


def test_every_role_of_a_function_is_held() -> None:
    assert {"work", "events", "dead_letters", "maintenance", "registrar"} == set(FUNCTIONS)


def test_a_client_may_do_what_its_methods_do_and_nothing_else() -> None:
    async def run(stack: Stack) -> None:
        for one in dict.fromkeys(CLIENT_ACTS.values()):
            await one(stack)
        stack.of("client").needs |= settings_of_a_stack(stack)
        missing, unused = stack.check("client", "ClientPolicy")
        assert missing == [], "ClientPolicy lacks"
        assert unused == [], "ClientPolicy has and nothing uses"

    on_a_stack(run)


def settings_of_a_stack(stack: Stack) -> set[Need]:
    """What finding the stack by its name needs."""
    clients = stack.of("finding")

    class Session:
        """Makes clients that note what they need."""

        def client(self, service: str, **_: Any) -> Any:
            return clients.of(service)

    Settings.from_stack(stack.account.stack, REGION, session=Session())
    return clients.needs


def test_every_method_of_a_client_is_among_the_acts() -> None:
    methods = {
        name
        for name, method in inspect.getmembers(Polos, inspect.isfunction)
        if not name.startswith("_") and (inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method))
    }
    assert methods - NOT_OF_A_STACK - BY_OTHER_PERMISSIONS == set(CLIENT_ACTS)


@pytest.mark.parametrize(
    ("change", "said"),
    [("lacks", "dynamodb:PutItem on arn:aws:dynamodb"), ("has too much", "Spare: sqs:PurgeQueue on *")],
)
def test_the_check_names_what_is_wrong(change: str, said: str) -> None:
    async def run(stack: Stack) -> None:
        await stack.env.finish(await stack.env.start(child, 1))
        role = RESOURCES["WorkRole"]
        (policy,) = role["Properties"]["Policies"]
        statements = policy["PolicyDocument"]["Statement"]
        if change == "lacks":
            changed = [one for one in statements if one.get("Sid") != "Records"]
        else:
            spare = {"Sid": "Spare", "Effect": "Allow", "Action": "sqs:PurgeQueue", "Resource": "*"}
            changed = [*statements, spare]
        mutant = {**role, "Properties": {"Policies": [{"PolicyDocument": {"Statement": changed}}]}}
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(RESOURCES, "WorkRole", mutant)
            missing, unused = stack.check("work", "WorkRole")
        assert any(one.startswith(said) for one in (missing if change == "lacks" else unused))

    on_a_stack(run)
