"""A listing in pages shows each execution once, whatever the backend's index calls the end of a page."""

from __future__ import annotations

from polos import WorkflowContext, workflow
from tests.laws.worlds import World, law


@law
async def test_pages_of_a_listing_hold_each_execution_once(world: World) -> None:
    @workflow(id="cl-listed")
    async def body(ctx: WorkflowContext, n: int) -> None:
        if n % 2:
            await ctx.step.suspend("ask")

    async with world.deploy(body) as env:
        began, started = env.now, list[str]()
        for n in range(5):
            started.append((await env.start(body, n)).id)
            await env.advance(seconds=1)
        newest, waiting = started[::-1], started[3::-2]
        for status, limit, wanted in ((None, 2, newest), (None, 5, newest), ("waiting", 1, waiting), ("failed", 1, [])):
            seen: list[str] = []
            cursor, pages = None, 0
            while pages == 0 or cursor is not None:
                page = await env.client.list_executions(status=status, since=began, limit=limit, cursor=cursor)
                seen += [one.id for one in page]
                cursor, pages = page.cursor, pages + 1
                assert pages < 7, "the listing goes round"
            assert seen == wanted, (status, limit)
