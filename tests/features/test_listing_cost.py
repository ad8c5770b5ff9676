"""What a listing without a time costs: it looks no further back than there ever was something; on every backend."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from polos import WorkflowContext, workflow
from polos.core import items
from polos.engine import listing
from tests.laws.worlds import World, law

MONTH = 8  # queries: one a shard


@workflow(id="listed-cheaply")
async def body(ctx: WorkflowContext) -> None:
    await ctx.step.wait_for("long", days=300)


async def queries(world: World, **filters: object) -> tuple[int, int]:
    """How many executions were listed, and with how many queries."""
    world.env.requests.clear()
    found = await world.env.client.list_executions(**filters)  # type: ignore[arg-type]
    return len(found), world.env.requests["Query"]


@law
async def test_listing_that_runs_out_looks_back_to_2025_once_and_then_no_further_than_there_was_something(
    world: World,
) -> None:
    async with world.deploy(body, start_time=datetime(2026, 5, 20, tzinfo=UTC)) as env:
        world.table.delete(items.LISTING)
        await env.start(body)
        assert await queries(world) == (1, 18 * MONTH)
        assert await queries(world) == (1, 2 * MONTH), "a late start of April may still come"
        assert env.requests["GetItem"] == 1
        await env.advance(days=60)
        await env.start(body)
        assert await queries(world) == (2, 4 * MONTH)
        assert await queries(world) == (2, 3 * MONTH)
        assert await queries(world, limit=1) == (1, MONTH), "a full page costs no more than before"
        assert not env.requests["GetItem"]


@law
async def test_listing_shows_what_is_open_however_long_ago_it_was_started(world: World) -> None:
    @workflow(id="listed-and-open")
    async def asks(ctx: WorkflowContext) -> None:
        await ctx.step.suspend("ask")

    async with world.deploy(asks, body, start_time=datetime(2026, 1, 20, tzinfo=UTC)) as env:
        old = await env.start(asks)
        await env.advance(days=800)
        await env.start(body)
        page = await env.client.list_executions(status="waiting")
        assert [one.id for one in page] == [old.id]
        cost = [(await queries(world, workflow_id=asks.id, status="waiting")) for _ in range(2)]
        assert cost == [(1, 27 * MONTH)] * 2, "as many months as the oldest is old"
        page = await env.client.list_executions(limit=1)
        rest = await env.client.list_executions(limit=1, cursor=page.cursor)
        assert [one.id for one in rest] == [old.id]


@law
async def test_listing_forgets_months_whose_executions_have_expired(world: World) -> None:
    async with world.deploy(body, start_time=datetime(2026, 5, 20, tzinfo=UTC)) as env:
        old = await env.start(body)
        await env.settle()
        await queries(world)
        await env.advance(days=60)
        await env.start(body)
        await queries(world)
        assert await queries(world) == (2, 3 * MONTH)
        for sk in world.records(old):
            world.table.delete(items.Key(old.id, sk))
        assert await queries(world) == (1, 3 * MONTH)
        assert await queries(world) == (1, 2 * MONTH)


@law
async def test_listing_does_not_take_a_month_for_empty_into_which_a_late_start_may_come(world: World) -> None:
    """A start that is delivered four weeks late, by way of the dead letters, is listed in its own month."""
    async with world.deploy(body, start_time=datetime(2026, 6, 20, tzinfo=UTC)) as env:
        world.table.delete(items.LISTING)
        assert (await queries(world))[0] == 0
        first = world.table.get(items.LISTING)
        assert first is not None
        assert first[items.FIRST_MONTH] == "2026-05"
        handle = await env.start(body)
        shifted = int((env.now - timedelta(days=28)).timestamp() * 1000)
        late = world.execution(handle) | {
            items.CREATED: shifted,
            items.BUCKET: world.execution(handle)[items.BUCKET].replace("2026-06", "2026-05"),  # type: ignore[union-attr]
            items.BUCKET_SORT: f"{shifted:015d}#{handle.id}",
        }
        world.table.put(late)
        assert await queries(world) == (1, 2 * MONTH)


@law
async def test_listing_between_times_neither_uses_nor_notes_the_first_month(world: World) -> None:
    async with world.deploy(body, start_time=datetime(2026, 5, 20, tzinfo=UTC)) as env:
        began = env.now
        await env.start(body)
        await env.advance(days=100)
        await env.start(body)
        world.table.put(listing.beginning(env.now))
        assert (await queries(world))[0] == 1
        assert (await queries(world, until=began + timedelta(days=1)))[0] == 1
        assert (await queries(world, since=began - timedelta(days=1)))[0] == 2


@law
async def test_listing_goes_on_by_cursor_to_the_end_at_the_cost_of_the_months_that_are_left(world: World) -> None:
    async with world.deploy(body, start_time=datetime(2026, 5, 20, tzinfo=UTC)) as env:
        world.table.put(listing.beginning(env.now))
        for _ in range(3):
            await env.start(body)
            await env.advance(days=31)
        seen, cursor, count = [], None, 0
        while cursor is not None or not seen:
            env.requests.clear()
            page = await env.client.list_executions(limit=1, cursor=cursor)
            seen += [one.id for one in page]
            cursor, count = page.cursor, count + env.requests["Query"]
        assert len(seen) == len(set(seen)) == 3
        assert count <= 8 * MONTH
