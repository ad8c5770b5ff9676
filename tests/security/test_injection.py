"""SPEC 12: names that users choose are data everywhere: in SQL, in expressions of DynamoDB, in paths, in patterns."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from polos import ExecutionNotFoundError, InvalidPayloadError, Polos, WorkflowContext, workflow
from tests.features.listing import listed
from tests.laws.worlds import World, law

NAMES = (
    "' OR '1'='1",
    '"; DROP TABLE items; --',
    "#pk = :v OR attribute_exists(pk)",
    "a% _b*?[c]",
    "../../../etc/passwd",
    "x#r#y",
    "w#",
    "{0.__class__} %s ${env:HOME} $(id)",
    "line\nbreak\r\ttab",
    "<b>&amp;</b>",
    "\u202eevil\u0000",
    "ключ-🔑",
    "__proto__",
    "constructor",
    "__class__",
    "\x1b]0;title\x07\x1b[2J",
)


@workflow(id="named")
async def named(ctx: WorkflowContext, name: str) -> list[Any]:
    first = await ctx.step.run(name, lambda: 1)
    second = await ctx.step.run(f"{name}{name}", lambda: 2)
    await ctx.step.publish_event(f"say {name}", f"{name}/out", {"n": 1})
    event = await ctx.step.wait_for_event(f"hear {name}", topic=name)
    return [first, second, event.data]


@law
@pytest.mark.parametrize("name", NAMES)
async def test_12_any_name_is_only_a_name(world: World, name: str) -> None:
    async with world.deploy(named) as env:
        bystander = await env.start(named, "bystander")
        handle = await env.start(named, name, session_id=name, user_id=name, tags={name: name}, queue=name)
        await env.settle()
        await env.publish(name, name)
        assert await env.finish(handle) == [1, 2, name]
        assert (await env.describe(bystander)).status == "waiting"
        found = await env.describe(handle)
        assert {name, f"{name}{name}"} <= {step.key for step in found.steps}
        assert [one.id for one in await listed(env, tags={name: name})] == [handle.id]


@workflow(id="named-alike")
async def named_alike(ctx: WorkflowContext, names: list[str]) -> list[Any]:
    return [await ctx.step.run(name, lambda name=name: name) for name in names]


@law
async def test_12_names_that_only_look_alike_are_different(world: World) -> None:
    alike = ["é", "e\u0301", "\u212a", "K", "a\u200b", "a", "A", "a ", "ﬁ", "fi"]
    async with world.deploy(named_alike) as env:
        handle = await env.start(named_alike, alike)
        assert await env.finish(handle) == alike
        assert [step.key for step in (await env.describe(handle)).steps] == alike


@law
@pytest.mark.parametrize(
    "options",
    [{"session_id": "\ud800"}, {"user_id": "\ud800"}, {"tags": {"\ud800": "v"}}, {"queue": "\ud800"}],
    ids=lambda options: next(iter(options)),
)
async def test_12_text_that_can_be_stored_nowhere_is_refused_before_anything_is_stored(
    world: World, options: dict[str, Any]
) -> None:
    async with world.deploy(named) as env:
        with pytest.raises(InvalidPayloadError, match="Unicode"):
            await env.start(named, "n", **options)
        for event in ({"event_type": "\ud800"}, {"event_id": "\ud800"}):
            with pytest.raises(InvalidPayloadError, match="Unicode"):
                await env.publish("topic", 1, **event)
        with pytest.raises(ExecutionNotFoundError):
            await env.describe("\ud800")
        assert await listed(env) == []


@law
@pytest.mark.parametrize(
    "execution_id", ["", "a#b", "a\nb", "../x", "/etc/passwd", "a/b", "é", "x" * 256, "a b", "' --"]
)
async def test_12_an_execution_id_has_a_closed_alphabet(world: World, execution_id: str) -> None:
    async with world.deploy(named) as env:
        with pytest.raises(InvalidPayloadError):
            await env.start(named, "n", id=execution_id)
        assert list(await listed(env)) == []


def test_12_a_name_makes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded backend writes its database and nothing that is named by users."""
    monkeypatch.chdir(tmp_path)

    async def scenario() -> None:
        async with Polos(local=tmp_path / "one" / "local.db") as polos:
            handle = await named.start("../../x", client=polos, session_id="../../y")
            await polos.cancel_execution(handle.id)

    asyncio.run(scenario())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one"]
    assert all(path.name.startswith("local.db") for path in (tmp_path / "one").iterdir())
