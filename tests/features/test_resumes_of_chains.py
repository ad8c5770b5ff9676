"""L9 with `continue_as_new`: a resume is one link's, however late or often its message comes."""

from __future__ import annotations

from typing import Any

import pytest

from polos import WorkflowContext, workflow
from polos.engine.commands import resume
from polos.engine.stored import Stored
from polos.ports import Message
from tests.laws.worlds import World, law


@workflow(id="chain-approvals")
async def approvals(ctx: WorkflowContext, link: int) -> str:
    answer = await ctx.step.suspend("approve", {"link": link})
    await ctx.step.run(f"approved {link}", lambda: answer["data"])
    if link < 2:
        await ctx.continue_as_new(link + 1)
    return "all approved"


def _late(execution_id: str, workflow_id: str, key: str, data: str) -> Message:
    return Message("late", resume(execution_id, workflow_id, key, Stored(data), 0), 1, lambda _: None)


@pytest.mark.parametrize("links", [1, 2])
@law
async def test_L9_a_second_copy_of_a_resume_does_not_approve_what_a_later_link_asks(world: World, links: int) -> None:
    async with world.deploy(approvals) as env:
        handle = await env.start(approvals, 0, id="approvals")
        await env.settle()
        for link in range(links):
            await env.resume(handle, "approve", f"link {link}")
            if link == 0:
                first = world.take()
                copies = [first.copy(resent) for resent in (False, True)]
                await world.begin(first).end()
            await env.settle()
        waiting = f"approvals~{links}"
        assert (await env.describe(handle)).id == waiting
        for copy in copies:
            await world.begin(copy).end()
        await env.settle()
        detail = await env.describe(handle)
        assert (detail.id, detail.status) == (waiting, "waiting"), "nobody has approved this one"


@workflow(id="chain-asks-later")
async def asks_later(ctx: WorkflowContext, link: int) -> list[Any]:
    """The first link does not ask; those after it do."""
    if link == 0:
        await ctx.step.wait_for_event("go", topic="chain/go")
        await ctx.continue_as_new(1)
    answers = [(await ctx.step.suspend("answer", {}))["data"]]
    if link == 1:
        answers.append((await ctx.step.suspend("go on", {}))["data"])
        await ctx.continue_as_new(2)
    return answers


async def _asked_thrice(world: World) -> str:
    """A chain whose third link asks. Its second has been answered."""
    handle = await world.env.start(asks_later, 0, id="later")
    await world.env.settle()
    await world.env.publish("chain/go")
    await world.env.settle()
    for key in ("answer", "go on"):
        await world.env.resume(handle, key, "asked by the second")
    await world.env.settle()
    assert (await world.env.describe("later")).id == "later~2"
    return "later~2"


@law
async def test_L9_a_resume_that_is_late_by_a_whole_link_is_for_the_first_link_that_asks(world: World) -> None:
    async with world.deploy(asks_later) as env:
        waiting = await _asked_thrice(world)
        await world.again(_late("later", asks_later.id, "answer", '"late, the second has been answered"')).end()
        await env.settle()
        assert (await env.describe(waiting)).status == "waiting"
        await env.resume(waiting, "answer", "asked by the third")
        assert await env.finish(waiting) == ["asked by the third"]


@law
async def test_L9_a_late_resume_that_no_link_has_asked_for_yet_reaches_the_newest(world: World) -> None:
    @workflow(id="chain-asks-last")
    async def asks_last(ctx: WorkflowContext, link: int) -> Any:
        if link < 2:
            await ctx.continue_as_new(link + 1)
        await ctx.step.wait_for("nap", hours=1)
        return (await ctx.step.suspend("answer", {}))["data"]

    async with world.deploy(asks_last) as env:
        handle = await env.start(asks_last, 0, id="unasked")
        await env.settle()
        late = _late("unasked", asks_last.id, "answer", '"very late"')
        await world.again(late).end()
        await env.settle()
        await world.again(late).end()
        assert await env.finish(handle) == "very late"


@law
async def test_L9_a_resume_that_comes_when_its_links_have_expired_is_dropped(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.deploy(asks_later) as env:
        waiting = await _asked_thrice(world)
        world.forget("later~1")
        await world.again(_late("later", asks_later.id, "answer", '"weeks late"')).end()
        await env.settle()
        assert (await env.describe(waiting)).status == "waiting"
        assert world.records("later~1") == {}, "nothing is written where nobody will ever remove it"
    assert "a resume of step 'answer' came after the links of 'later' that it was for" in caplog.text
