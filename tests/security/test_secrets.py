"""SPEC 12, 8.9: what goes through payloads, results and events is in no log and in no error of the runtime."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from pydantic import BaseModel

import polos
from polos import EventPattern, InvalidPayloadError, WorkflowContext, WorkflowFailedError, WorkflowState, workflow
from polos.engine.worker import Worker
from polos.ports import Message, Outgoing
from tests.laws.worlds import World, law

SECRET = "hunter2-7f3a"


class Login(BaseModel):
    user: str
    password: str
    tries: int = 0


class Unstorable:
    def __repr__(self) -> str:
        return f"Unstorable({SECRET})"


@workflow(id="secret-keeper", max_retries=0)
async def keeper(ctx: WorkflowContext, login: Login) -> dict[str, str]:
    token = await ctx.step.run("token", lambda: login.password + "-token")
    event = await ctx.step.wait_for_event("event", topic="secrets")
    resumed = await ctx.step.suspend("gate", {"ask": login.password})
    return {"token": token, "event": event.data["password"], "resumed": resumed["data"]["password"]}


@workflow(id="secret-breaker", max_retries=0)
async def breaker(ctx: WorkflowContext, login: Login) -> None:
    await ctx.step.run("unstorable", lambda: {"deep": [Unstorable()]}, max_retries=0)


def everything_logged(caplog: pytest.LogCaptureFixture) -> str:
    formatter = logging.Formatter("%(name)s %(message)s")
    return "\n".join(f"{formatter.format(record)} {record.__dict__}" for record in caplog.records)


@law
async def test_12_what_a_workflow_handles_is_in_no_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for noisy in ("botocore", "boto3", "urllib3", "s3transfer", "moto", "asyncio"):
        caplog.set_level(logging.WARNING, logger=noisy)
    async with world.deploy(keeper, breaker) as env:
        handle = await env.start(keeper, Login(user="ada", password=SECRET))
        await env.settle()
        await env.publish("secrets", {"password": SECRET})
        await env.settle()
        await env.resume(handle, "gate", {"password": SECRET})
        assert (await env.finish(handle))["resumed"] == SECRET
        env.harness.engine.backend.inbox.send([Outgoing({"t": "nonsense", "x": "x", "v": SECRET})])
        await env.settle()
    assert SECRET not in everything_logged(caplog)


@law
async def test_12_errors_name_the_field_and_not_its_value(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="polos")
    async with world.deploy(keeper, breaker) as env:
        bad: dict[str, Any] = {"user": "ada", "password": SECRET, "tries": SECRET}
        with pytest.raises(InvalidPayloadError, match="tries") as refused:
            await env.start(keeper, bad)
        assert SECRET not in str(refused.value)
        assert SECRET not in repr(refused.value.errors)
        handle = await env.start(breaker, Login(user="ada", password=SECRET))
        with pytest.raises((WorkflowFailedError, polos.SerializationError)) as failed:
            await env.finish(handle)
        assert SECRET not in str(failed.value)
        found = await env.describe(handle)
        assert found.error is not None
        assert SECRET not in found.error.message
    assert SECRET not in everything_logged(caplog)


class Vault(WorkflowState):
    opened: int = 0


@workflow(id="secret-triggered", trigger_on_event="secret-logins", max_retries=0)
async def triggered(ctx: WorkflowContext, login: Login) -> str:
    return login.user


@workflow(id="secret-native", trigger_on_event=EventPattern({"source": ["vault"]}), max_retries=0)
async def native(ctx: WorkflowContext, login: Login) -> str:
    return login.user


@workflow(id="secret-parent", max_retries=0, state_schema=Vault)
async def parent(ctx: WorkflowContext) -> str:
    return await ctx.step.invoke_and_wait("child", triggered, {"user": "ada", "password": SECRET, "tries": SECRET})


@law
async def test_12_what_comes_by_an_event_or_a_parent_and_does_not_fit_is_in_no_error(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="polos")
    bad = {"user": "ada", "password": SECRET, "tries": SECRET}
    async with world.deploy(triggered, native, parent) as env:
        await env.publish("secret-logins", bad)
        await env.put_event("vault", "login", bad)
        family = await env.start(parent)
        with pytest.raises(InvalidPayloadError, match="opened") as refused:
            await env.start(parent, initial_state={"opened": SECRET})
        await env.settle()
        errors = [str(refused.value), str((await env.describe(family)).error)]
        for workflow_id in ("secret-triggered", "secret-native"):
            (line,) = await env.client.list_executions(workflow_id=workflow_id)
            found = await env.describe(line.id)
            assert found.status == "failed"
            assert "tries" in str(found.error)
            errors.append(str(found.error))
    assert [error for error in errors if SECRET in error] == []
    assert SECRET not in everything_logged(caplog)


@law
async def test_12_a_refused_message_is_logged_without_what_it_holds(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="polos")
    shapes: list[dict[str, Any]] = [
        {"t": "start", "x": "e", "wf": "secret-keeper", "cr": 5, "in": f'"{SECRET}', "so": {"session": [SECRET]}},
        {"t": "event", "id": "e", "tp": "secrets", "sq": "x", "v": SECRET},
        {"t": "event", "id": "e", "tp": "secrets", "sq": 5, "v": f"{{{SECRET}"},
        {"t": "resume", "x": "e", "wf": "secret-keeper", "k": "gate", "v": f"[{SECRET}"},
        {"t": "native", "event": {"id": "e", "detail": SECRET}},
        {"t": "cancel", "x": "e", "mode": "cancel", "v": "\ud800" + SECRET},
    ]
    async with world.deploy(keeper) as env:
        for body in shapes:
            with pytest.raises(InvalidPayloadError) as refused:
                await asyncio.to_thread(Worker(env.harness.engine).handle, Message("m", body, 1, lambda _: None))
            assert SECRET not in str(refused.value)
            if "\ud800" not in str(body):
                env.harness.engine.backend.inbox.send([Outgoing(body)])
        await env.settle()
    assert SECRET not in everything_logged(caplog)
