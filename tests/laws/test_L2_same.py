"""L2 same: live and replay hand the workflow equal values of equal type (SPEC 2.4)."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import uuid
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel

from polos import ChildWorkflowError, StepExecutionError, WorkflowContext, current_step, workflow
from tests.laws.worlds import World, law


class Colour(enum.Enum):
    RED = "red"
    BLUE = 2


class Level(enum.IntEnum):
    HIGH = 3


class Order(BaseModel):
    id: int
    placed: dt.datetime
    price: Decimal
    tags: set[str] = set()
    next: Order | None = None


@dataclasses.dataclass(frozen=True)
class Point:
    x: float
    y: float
    colour: Colour = Colour.RED


@dataclasses.dataclass
class Holder:
    points: list[Point]
    by_name: dict[str, Point | None]


WHEN = dt.datetime(2030, 5, 17, 12, 30, 1, 234567, tzinfo=dt.UTC)
ORDER = Order(id=7, placed=WHEN, price=Decimal("12.50"), tags={"a", "b"})
VALUES: dict[str, Any] = {
    "none": None,
    "true": True,
    "int": 42,
    "big int": 1 << 90,
    "float": 0.1,
    "whole float": 1.0,
    "text": "grüße 🌍 \x00 end",
    "list": [1, "two", None, [3.5]],
    "dict": {"a": {"b": [1, 2]}, "": None},
    "dict that looks like a tag": {"$": "decimal", "v": "1"},
    "dict with odd keys": {1: "one", (2, 3): "pair", None: 0},
    "tuple": (1, "two", (3,)),
    "empty tuple": (),
    "set": {1, 2, 3},
    "frozenset": frozenset({"x"}),
    "bytes": b"\x00\xffabc",
    "datetime": WHEN,
    "naive datetime": WHEN.replace(tzinfo=None),
    "datetime with offset": WHEN.astimezone(dt.timezone(dt.timedelta(hours=5, minutes=30))),
    "date": WHEN.date(),
    "time": WHEN.time(),
    "timedelta": dt.timedelta(days=3, microseconds=1),
    "uuid": uuid.UUID(int=5),
    "decimal": Decimal("1.500"),
    "enum": Colour.BLUE,
    "int enum": Level.HIGH,
    "model": ORDER,
    "nested model": Order(id=1, placed=WHEN, price=Decimal(0), next=ORDER),
    "dataclass": Point(1.0, 2.5, Colour.BLUE),
    "nested dataclass": Holder([Point(0, 0)], {"p": Point(1, 1), "q": None}),
    "mixed": [ORDER, (Point(1, 2), {Decimal("1")}), {"when": WHEN}],
}


def _shape(value: Any) -> Any:
    """The value's type, and those of its parts."""
    if isinstance(value, dict):
        return dict, [(_shape(key), _shape(part)) for key, part in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [_shape(part) for part in value]
    if isinstance(value, set | frozenset):
        return type(value), sorted(str(type(part)) for part in value)
    return type(value)


@law
async def test_L2_every_type_of_value_is_the_same_live_and_on_replay(world: World) -> None:
    seen: list[dict[str, Any]] = []

    @workflow(id="l2-values")
    async def body(ctx: WorkflowContext) -> Any:
        got = {key: await ctx.step.run(key, lambda value=value: value) for key, value in VALUES.items()}
        seen.append(got)
        await ctx.step.wait_for("pause", days=1)
        return got["mixed"]

    async with world.deploy(body) as env:
        result = await env.finish(await env.start(body))
    live, replayed = seen
    for key, value in VALUES.items():
        assert live[key] == value, key
        assert replayed[key] == value, key
        assert _shape(live[key]) == _shape(replayed[key]) == _shape(value), key
    assert result == VALUES["mixed"]


@law
async def test_L2_the_live_value_is_the_decoded_record_not_the_object(world: World) -> None:
    shared: list[int] = [1]
    seen: list[list[int]] = []

    def give() -> list[int]:
        return shared

    @workflow(id="l2-copy")
    async def body(ctx: WorkflowContext) -> list[int]:
        got = await ctx.step.run("give", give)
        shared.append(2)
        seen.append(list(got))
        await ctx.step.wait_for("pause", hours=1)
        return got

    async with world.deploy(body) as env:
        assert await env.finish(await env.start(body)) == [1]
    assert seen == [[1], [1]]


@law
async def test_L2_payload_event_resume_and_child_result_are_the_same_live_and_on_replay(world: World) -> None:
    seen: list[tuple[Any, ...]] = []

    @workflow(id="l2-child")
    async def child(ctx: WorkflowContext, point: Point) -> Order:
        assert point == Point(3, 4)
        return ORDER

    @workflow(id="l2-inputs")
    async def body(ctx: WorkflowContext, order: Order) -> bool:
        event = await ctx.step.wait_for_event("event", "l2/topic")
        given = await ctx.step.suspend("ask", {"order": order})
        answer = await ctx.step.invoke_and_wait("child", child, Point(3, 4))
        fixed = (await ctx.step.uuid("uuid"), await ctx.step.now("now"), await ctx.step.random("random"))
        seen.append((order, event, given, answer, fixed))
        await ctx.step.wait_for("pause", hours=1)
        return True

    async with world.deploy(body, child) as env:
        handle = await env.start(body, ORDER)
        await env.publish("l2/topic", {"p": Point(1, 1), "d": Decimal("0.10")}, event_type="kind")
        await env.resume(handle, "ask", (WHEN, {1, 2}))
        assert await env.finish(handle) is True
    live, replayed = seen
    assert live == replayed
    order, event, given, answer, fixed = live
    assert order == ORDER
    assert event.data == {"p": Point(1, 1), "d": Decimal("0.10")}
    assert event.event_type == "kind"
    assert given["data"] == (WHEN, {1, 2})
    assert answer == ORDER
    assert type(answer) is Order
    assert [type(one) for one in fixed] == [str, int, float]


@law
async def test_L2_failures_are_the_same_live_and_on_replay(world: World) -> None:
    seen: list[tuple[Any, ...]] = []

    @workflow(id="l2-failing-child")
    async def child(ctx: WorkflowContext) -> None:
        await ctx.step.run("boom", _boom, max_retries=0)

    def told(error: StepExecutionError) -> tuple[Any, ...]:
        more = (error.workflow_id, error.execution_id, error.status, error.error) if isinstance(
            error, ChildWorkflowError
        ) else ()  # fmt: skip
        return type(error), str(error), error.step_key, error.error_type, error.message, error.attempts, \
            error.traceback, *more  # fmt: skip

    @workflow(id="l2-failures")
    async def body(ctx: WorkflowContext) -> None:
        for key, call in {
            "step": lambda: ctx.step.run("step", _boom, max_retries=1, base_delay=0),
            "child": lambda: ctx.step.invoke_and_wait("child", child),
            "event": lambda: ctx.step.wait_for_event("event", "l2/none", timeout=5),
            "suspend": lambda: ctx.step.suspend("suspend", timeout=5),
            "value": lambda: ctx.step.run("value", object),
        }.items():
            try:
                await call()
            except StepExecutionError as error:
                seen.append((key, *told(error)))
        await ctx.step.wait_for("pause", hours=1)

    async with world.deploy(body, child) as env:
        handle = await env.start(body)
        await env.advance(seconds=10)
        await env.advance(seconds=10)
        before = len(seen)
        assert [line[0] for line in seen[-5:]] == ["step", "child", "event", "suspend", "value"]
        await env.finish(handle)
    first, last = {}, {}
    for line in seen[:before]:
        first.setdefault(line[0], line)
    for line in seen[before:]:
        last[line[0]] = line
    assert first == last


def _boom() -> None:
    raise KeyError(f"attempt {current_step().attempt}")


@law
async def test_L2_a_class_from_inside_a_function_comes_back_through_an_annotation_only(world: World) -> None:
    class Local(BaseModel):
        n: int

    def annotated() -> Local:
        return Local(n=1)

    annotated.__annotations__["return"] = Local  # as it is where annotations are not kept as text

    @workflow(id="l2-local")
    async def body(ctx: WorkflowContext) -> list[str]:
        first = await ctx.step.run("annotated", annotated)
        try:
            await ctx.step.run("bare", lambda: Local(n=2))
        except StepExecutionError as error:
            return [type(first).__name__, error.error_type]
        return []

    async with world.deploy(body) as env:
        assert await env.finish(await env.start(body)) == ["Local", "SerializationError"]


@pytest.mark.parametrize("key", ["a", "a#b/c d", "ключ", "x" * 512])
@law
async def test_L2_any_key_up_to_512_bytes_names_its_record(world: World, key: str) -> None:
    @workflow(id="l2-keys")
    async def body(ctx: WorkflowContext) -> str:
        value = await ctx.step.run(key, world.effect)
        await ctx.step.wait_for(key[:-1] + "!", hours=1)
        return value

    async with world.deploy(body) as env:
        assert await env.finish(await env.start(body)) == key
    assert world.ran(key) == 1
