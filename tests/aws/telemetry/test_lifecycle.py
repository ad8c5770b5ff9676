"""Events of the lifecycle: other programs hear how an execution begins and ends, once each."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from polos import Workflow, WorkflowContext, workflow
from polos.aws.backend import aws_backend
from polos.aws.lifecycle import EXECUTION
from polos.errors import BackendError
from polos.testing import Environment
from polos.testing.moto_account import ACCOUNT, MotoAccount
from tests.aws.telemetry.telling import SECRET, fails, flaky


class Statuses:
    """A lifecycle that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.away: set[str] = set()

    def tell(self, about: Any) -> None:
        if about["status"] in self.away:
            raise BackendError("EventBridge could not be reached.")
        self.told.append(dict(about))


def with_lifecycle(
    run: Callable[[Environment, Statuses], Awaitable[None]],
    *workflows: Workflow[Any, Any],
    backend: Literal["memory", "moto"] = "memory",
) -> None:
    async def main() -> None:
        async with Environment(backend=backend, workflows=workflows) as env:
            statuses = Statuses()
            object.__setattr__(env.harness.engine.backend, "lifecycle", statuses)
            await run(env, statuses)

    asyncio.run(main())


def test_other_programs_hear_how_an_execution_begins_and_ends() -> None:
    async def run(env: Environment, statuses: Statuses) -> None:
        handle = await env.start(flaky, {"number": SECRET}, tags={"team": "blue"})
        await env.finish(handle)

        begun, ended = statuses.told
        assert (begun["status"], ended["status"]) == ("running", "completed")
        assert begun["id"] != ended["id"]
        assert ended["execution_id"] == handle.id
        assert ended["tags"] == {"team": "blue"}
        assert SECRET not in json.dumps(statuses.told)

    with_lifecycle(run, flaky)


def test_a_fork_is_told_to_have_begun_once() -> None:
    @workflow(id="telemetry-fork")
    async def waits(ctx: WorkflowContext) -> str:
        await ctx.step.run("first", str)
        await ctx.step.wait_for("nap", seconds=60)
        return await ctx.step.run("last", str)

    async def run(env: Environment, statuses: Statuses) -> None:
        source = await env.start(waits)
        await env.finish(source)
        fork = await env.client.fork(source.id, "nap")
        await env.finish(fork)

        told = [one["status"] for one in statuses.told if one["execution_id"] == fork.id]
        assert told == ["running", "completed"]

    with_lifecycle(run, waits)


def test_the_same_status_has_the_same_id_and_another_try_another_one() -> None:
    async def run(env: Environment, statuses: Statuses) -> None:
        handle = await env.start(fails)
        for _ in range(2):
            await env.settle()
            await env.client.retry(handle.id)
        await env.settle()

        ends = [one["id"] for one in statuses.told if one["status"] == "failed"]
        assert len(set(ends)) == 3
        assert {one["error_type"] for one in statuses.told if one["status"] == "failed"} == {"StepExecutionError"}

    with_lifecycle(run, fails)


def test_an_outage_of_the_events_holds_up_nobody_and_is_made_up_for() -> None:
    """A parent is told, and a slot passes on, before other programs hear that a child has ended."""

    @workflow(id="telemetry-lined-up", queue={"name": "telemetry-one", "concurrency_limit": 1})
    async def child(ctx: WorkflowContext, number: int) -> int:
        return number

    @workflow(id="telemetry-family")
    async def family(ctx: WorkflowContext) -> list[int]:
        return await asyncio.gather(*(ctx.step.invoke_and_wait(f"c{one}", child, one) for one in range(3)))

    async def run(env: Environment, statuses: Statuses) -> None:
        statuses.away = {"completed"}
        handle = await env.start(family)
        await env.settle()
        assert (await env.describe(handle)).result == [0, 1, 2]

        statuses.away = set()
        await env.advance(hours=1)
        ended = [one["execution_id"] for one in statuses.told if one["status"] == "completed"]
        assert handle.id in ended
        assert len(set(ended)) == 4

    with_lifecycle(run, child, family, backend="moto")


def test_a_status_is_an_event_that_no_topic_gets(account: MotoAccount) -> None:
    settings = dataclasses.replace(account.settings, lifecycle_events=True)
    lifecycle = aws_backend(settings, account.clock, clients=account.runtime).lifecycle
    assert lifecycle is not None
    account.aws.sqs.create_queue(QueueName="observer")
    pattern = json.dumps({"source": ["polos"], "detail-type": [EXECUTION], "detail": {"status": ["failed"]}})
    account.aws.events.put_rule(Name="observer", EventBusName=settings.bus, EventPattern=pattern)
    target = {"Id": "q", "Arn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:observer"}
    account.aws.events.put_targets(Rule="observer", EventBusName=settings.bus, Targets=[target])

    lifecycle.tell({"id": "1", "execution_id": "e", "workflow_id": "w", "status": "running"})
    lifecycle.tell({"id": "2", "execution_id": "e", "workflow_id": "w", "status": "failed"})

    (message,) = account.aws.sqs.receive_message(QueueUrl="observer", MaxNumberOfMessages=10)["Messages"]
    assert json.loads(message["Body"])["detail"]["id"] == "2"
    assert account.queue("EventsQueue")._messages == []


def test_a_stack_tells_nobody_unless_it_was_asked_to(account: MotoAccount) -> None:
    assert aws_backend(account.settings, account.clock, clients=account.runtime).lifecycle is None
