"""Several messages an invocation (the parameter BatchSize): a death delays its neighbours, and is not theirs."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from polos import WorkflowContext, workflow
from polos.core import items
from polos.engine.turn import Turn
from polos.testing import Environment
from polos.testing.harness import Crash
from polos.testing.moto_harness import MotoDelivery, MotoHarness, _Context
from polos.workflow import _registry
from tests.laws.worlds import law

_before = dict(_registry)
ran: list[str] = []


@workflow(id="shared")
async def shared(ctx: WorkflowContext) -> str:
    return await ctx.step.run("effect", lambda: ran.append(ctx.execution_id) or "done")


_registry.clear()
_registry.update(_before)


@pytest.fixture
def env() -> Iterator[Environment]:
    ran.clear()
    env = Environment(backend="moto", workflows=[shared])
    yield env
    env.close()


def invoke_with_all(env: Environment, seconds: float = 900) -> Any:
    """One invocation of the work function, of so many seconds, with every start that is due."""
    harness: Any = env._open
    assert isinstance(harness, MotoHarness)
    answer = harness.account.aws.sqs.receive_message(
        QueueUrl=harness.account.queue_urls["StartQueue"],
        MaxNumberOfMessages=10,
        MessageSystemAttributeNames=["All"],
    )
    event = {"Records": [MotoDelivery(harness, "StartQueue", one).record for one in answer["Messages"]]}
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(harness.handlers["StartQueue"], event, _Context(harness.clock, seconds)).result()


@law
async def test_one_invocation_carries_out_all_of_its_messages(env: Environment) -> None:
    handles = [await env.start(shared, id=f"e{number}") for number in range(4)]

    assert invoke_with_all(env) == {"batchItemFailures": []}

    assert [(await env.describe(handle)).status for handle in handles] == ["completed"] * 4
    assert sorted(ran) == ["e0", "e1", "e2", "e3"]


@law
async def test_a_death_is_counted_for_the_execution_that_died_alone(
    env: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    handles = [await env.start(shared, id=f"e{number}") for number in range(4)]
    run, begun = Turn.run, list[str]()

    def die(turn: Turn) -> Any:
        begun.append(turn.execution_id)
        if len(begun) == 2:
            raise Crash
        return run(turn)

    monkeypatch.setattr(Turn, "run", die)
    with pytest.raises(Crash):
        invoke_with_all(env)
    died = begun[1]
    assert len(ran) == 1

    await env.advance(hours=1)

    assert [(await env.describe(handle)).status for handle in handles] == ["completed"] * 4
    assert sorted(ran) == ["e0", "e1", "e2", "e3"]
    epochs = {handle.id: _epoch(env, handle.id) for handle in handles}
    assert epochs == {handle.id: 2 if handle.id == died else 1 for handle in handles}


@law
async def test_those_behind_a_long_one_are_begun_by_an_invocation_that_has_the_time() -> None:
    """With what is left of this one they could do nothing but hand over, which counts as a death."""

    @workflow(id="shared-long")
    async def long(ctx: WorkflowContext) -> str:
        return await ctx.step.run("effect", lambda: env.harness.clock.advance(20) or "done")

    async with Environment(backend="moto", workflows=[long]) as env:
        handles = [await env.start(long, id=f"e{number}") for number in range(4)]

        assert len(invoke_with_all(env, 25)["batchItemFailures"]) == 3
        assert sorted([(await env.describe(handle)).invocations for handle in handles]) == [0, 0, 0, 1]

        await env.settle()
        assert [(await env.describe(handle)).invocations for handle in handles] == [1] * 4
        assert [await env.finish(handle) for handle in handles] == ["done"] * 4


def _epoch(env: Environment, execution_id: str) -> int:
    return items.number(env.harness.engine.table.get(items.execution(execution_id)) or {}, items.EPOCH)
