"""The embedded backend on a disk that is full: told in a sentence, no death, and it goes on when there is room."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any

import pytest

from polos import WorkflowContext, workflow
from polos.errors import BackendError
from polos.testing import Environment


@workflow(id="full-disk")
async def writes(ctx: WorkflowContext) -> int:
    return len(await ctx.step.run("large", lambda: random.Random(1).randbytes(60_000).hex()))


def test_a_full_disk_is_no_death_and_loses_nothing() -> None:
    async def scenario() -> None:
        async with Environment(workflows=[writes]) as env:
            harness: Any = env.harness
            connection = harness.local.database._connection
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            handle = await env.start(writes)
            connection.execute(f"PRAGMA max_page_count={pages + 6}")
            with pytest.raises(BackendError, match="cannot be used: database or disk is full"):
                await env.settle()
            for _ in range(12):
                with contextlib.suppress(BackendError):
                    await env.advance(minutes=20)
            assert (await env.describe(handle)).status == "running"
            connection.execute(f"PRAGMA max_page_count={pages + 6_000}")
            await env.advance(minutes=20)
            assert await env.finish(handle) == 120_000

    asyncio.run(scenario())
