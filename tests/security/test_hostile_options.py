"""SPEC 12: what stands in the options of a start is a part of an execution, or the start is refused.

One that were stored with an option of a wrong type would break every listing in which it turns up.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polos import InvalidPayloadError, WorkflowContext, workflow
from polos.engine.worker import Worker
from polos.ports import Message
from polos.testing import Environment
from tests.features.listing import listed
from tests.laws.worlds import World, law

MS = 1_893_456_000_000
NAMES = (
    *("parent", "root", "session", "user", "queue", "ckey", "limit", "timeout", "state", "tags", "trigger"),
    *("pd", "pb", "sq", "chain", "ev", "tp", "forked", "later"),
)
PARTS = st.sampled_from(
    [
        *(None, True, 5, -1, 1.5, 10**30, float("inf"), "x", "", "#", "\x00", "a" * 2000, [], [1], ["x", 1], {}),
        *({"x": 5}, {"x": "other", "wf": "optional", "k": "step"}, {"a": 5}, {"a": "b"}, {"x": [], "k": {}, "wf": 9}),
        *({"since": "x"}, {"topics": []}, {"topics": {"t": 1}}, {"topics": {"t": [1, 2]}}, '{"$":"model","of":"os:x"}'),
    ]
)


@workflow(id="optional")
async def honest(ctx: WorkflowContext, n: int) -> int:
    return await ctx.step.run("step", lambda: n)


def start(number: int, options: dict[str, Any], created: int = MS) -> Message:
    body = {"t": "start", "x": f"hostile-{number}", "wf": "optional", "cr": created, "in": "1", "so": options}
    return Message(f"m{number}", body, 1, lambda _: None)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(given=st.lists(st.dictionaries(st.sampled_from(NAMES), PARTS, max_size=2), min_size=1, max_size=8))
def test_12_any_options_make_an_execution_that_can_be_shown_or_are_refused(given: list[dict[str, Any]]) -> None:
    async def scenario() -> None:
        async with Environment(workflows=[honest]) as env:
            worker = Worker(env.harness.engine)
            for number, options in enumerate(given):
                with contextlib.suppress(InvalidPayloadError):
                    await asyncio.to_thread(worker.handle, start(number, options))
            await env.settle()
            for line in await listed(env):
                await env.describe(line.id)
                await env.client.get_execution(line.id)
            run = await env.start(honest, 3)
            assert await env.finish(run) == 3

    logging.disable(logging.CRITICAL)
    try:
        asyncio.run(scenario())
    finally:
        logging.disable(logging.NOTSET)


@law
@pytest.mark.parametrize(
    "options",
    [
        {"parent": 5},
        {"parent": {"x": 5, "wf": "optional", "k": "k"}},
        {"parent": {"x": "p", "wf": "optional", "k": "k", "i": 0}},
        {"root": {"x": "r"}},
        {"session": 5},
        {"tags": {"a": 5}},
        {"limit": 1},
        {"queue": "q", "limit": "1"},
        {"timeout": "9" * 500},
        {"timeout": float("nan")},
        {"chain": ["x"]},
        {"ev": {"topics": {"t": 5}}},
        {"tp": "00-zz-zz-00"},
    ],
    ids=str,
)
async def test_12_an_option_of_a_wrong_type_is_refused_and_makes_no_execution(
    world: World, options: dict[str, Any]
) -> None:
    async with world.deploy(honest) as env:
        with pytest.raises(InvalidPayloadError, match="start message"):
            await asyncio.to_thread(Worker(env.harness.engine).handle, start(1, options))
        assert await listed(env) == []


def test_12_a_time_limit_beyond_the_calendar_is_refused() -> None:
    environment = Environment(workflows=[honest])
    try:
        with pytest.raises(InvalidPayloadError, match="9999"):
            Worker(environment.harness.engine).handle(start(1, {"timeout": 3e9}, created=253_402_300_000_000))
    finally:
        environment.close()
