"""SPEC 12: messages, records and databases that cannot be read are refused, change nothing and lose nothing."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from polos import BackendError, Polos, WorkflowContext, WorkflowFailedError, ambient, workflow
from polos.core import items
from polos.local.database import Database
from polos.ports import Outgoing
from tests.features.baskets import basket, nothing
from tests.features.listing import listed
from tests.laws.worlds import World, law

MALFORMED: list[dict[str, Any]] = [
    {},
    {"t": "nonsense"},
    {"t": "start"},
    {"t": "start", "x": 5, "wf": "bad-nothing"},
    {"t": "wake"},
    {"t": "wake", "x": ["list"], "wf": "bad-nothing"},
    {"t": "resume", "x": "e"},
    {"t": "event", "topic": "only"},
    {"t": "tick", "wf": "bad-nothing", "key": "k", "at": "noon"},
    {"t": "tick", "wf": "bad-nothing", "key": "k", "at": 0, "cron": "61 * * * *", "tz": "UTC"},
]


@law
async def test_malformed_messages_are_kept_aside_and_slow_nobody(world: World) -> None:
    async with world.deploy(basket, nothing) as env:
        env.harness.engine.backend.inbox.send([Outgoing(body) for body in MALFORMED])
        handle = await env.start(nothing)
        await env.settle()
        assert (await env.describe(handle)).status == "completed"
        await env.advance(hours=2)
        assert len(await listed(env)) == 1
        harness: Any = env.harness
        if world.backend == "moto":
            kept = len(harness.dead_letters())
        else:
            kept = len(harness.local.database.read("SELECT 1 FROM dead"))
        assert kept == len(MALFORMED)
        assert harness.pending() == 0


@law
async def test_a_record_of_a_newer_version_fails_the_run_which_a_retry_brings_back(world: World) -> None:
    @workflow(id="bad-newer")
    async def body(ctx: WorkflowContext) -> Any:
        first = await ctx.step.run("first", world.effect)
        await ctx.step.wait_for("nap", hours=1)
        return first

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        record = world.records(handle)["r#first"]
        world.table.put({**record, items.VALUE: '{"$": "hologram", "v": 1}'})
        with pytest.raises(WorkflowFailedError, match="newer version of polos"):
            await env.finish(handle)
        assert (await env.describe(handle)).status == "failed"
        world.table.put(record)
    assert world.ran("first") == 1


def test_a_database_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()

    async def main() -> None:
        with pytest.raises(BackendError, match="newer version"):
            async with Polos(local=path):
                pass

    before, outer = path.read_bytes(), ambient.current()
    asyncio.run(main())
    assert path.read_bytes() == before
    assert ambient.current() is outer, "the next call without a client does not meet it"


def test_a_database_that_another_process_keeps_locked_is_a_sentence(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("polos.local.database._PATIENCE", 0.05)
    path = tmp_path / "local.db"
    database = Database(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(BackendError, match=r"local\.db is locked: another process"), database.transaction():
        raise AssertionError("it is not ours to write")
    other.execute("ROLLBACK")
    other.close()
    with database.transaction():
        pass
    database.close()
