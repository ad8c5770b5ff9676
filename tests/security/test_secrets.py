"""SPEC 12, 8.9: what goes through payloads, results and events is in no log and in no error of the runtime."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from pydantic import BaseModel

import polos
from polos import InvalidPayloadError, WorkflowContext, WorkflowFailedError, workflow
from polos.ports import Outgoing
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
