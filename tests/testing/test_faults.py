"""`Faults` of polos.testing: each kind strikes where it says, on both backends, and a run repeats itself."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest

import polos
from polos import (
    ExecutionNotFoundError,
    Polos,
    SchedulePayload,
    UsageError,
    WorkflowCancelledError,
    WorkflowContext,
    workflow,
)
from polos.testing import (
    Deadline,
    Delay,
    Duplicate,
    Early,
    Environment,
    Fault,
    Faults,
    Kill,
    LoseReply,
    Meanwhile,
    Reorder,
    ServerError,
    Skew,
    Slow,
    Stall,
    Throttle,
    shrink,
)

Backend = Literal["memory", "moto"]
charged: list[str] = []


def charge(amount: int) -> int:
    charged.append(polos.current_step().idempotency_key)
    return amount


async def ring(amount: int) -> int:
    await asyncio.sleep(0)
    return charge(amount)


@workflow(id="faults-shop")
async def shop(ctx: WorkflowContext, amount: int) -> list[Any]:
    paid = await ctx.step.run("charge", charge, amount)
    event = await ctx.step.wait_for_event("shipped", "shipped", timeout=86_400)
    await ctx.step.wait_for("grace", hours=1)
    both = await asyncio.gather(ctx.step.run("thank", ring, 1), ctx.step.run("rate", charge, 2))
    return [paid, event.data, both]


async def bought(env: Environment) -> list[Any]:
    handle = await env.start(shop, 7, id="order")
    await env.advance(minutes=30)
    await env.publish("shipped", "by train", event_id="e1")
    return await env.finish(handle)


def faulty(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """An async test as a plain one, with nothing charged before."""

    def run(**given: Any) -> None:
        charged.clear()
        asyncio.run(test(**given))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    run.__signature__ = __import__("inspect").signature(test)  # type: ignore[attr-defined]
    return run


STRIKES = [
    Kill(before="put r#charge"),
    Kill(after="put r#charge"),
    Kill(after="claim", nth=2),
    Kill(before="answer event"),
    Stall(before="put r#charge", seconds=60),
    Stall(after="put r#thank", seconds=120),
    LoseReply("claim"),
    LoseReply("put r#charge"),
    LoseReply("send wake"),
    LoseReply("suspend"),
    LoseReply("finish"),
    Throttle("put r#charge"),
    Throttle("suspend", times=2),
    ServerError("put w#order"),
    Early("schedule", seconds=600),
    Early("send wake"),
    Duplicate("start"),
    Duplicate("event shipped", seconds=600),
    Duplicate("wake", overlapping=True),
    Duplicate("wake", resent=True, nth=2),
    Delay("event shipped", seconds=300),
    Reorder("start"),
    Skew("start", seconds=-2.4),
    Skew("wake", seconds=2.4),
    Slow("charge", seconds=100),
    Deadline("charge"),
    Deadline("thank"),
]


@pytest.mark.parametrize("backend", ["memory", "moto"])
@pytest.mark.parametrize("fault", STRIKES, ids=repr)
@faulty
async def test_a_workflow_survives_what_strikes(backend: Backend, fault: Fault) -> None:
    async with Environment(backend, workflows=[shop], faults=Faults(fault)) as env:
        assert await bought(env) == [7, "by train", [1, 2]]
        assert env.struck == (fault,)
        assert env.unstruck == ()
        assert env.crashes == isinstance(fault, Kill)
        assert repr(fault) in str(env.trace)
    assert len(set(charged)) == 3


@faulty
async def test_a_killed_step_runs_again_and_a_recorded_one_does_not() -> None:
    async with Environment(
        workflows=[shop], faults=Faults(Kill(before="put r#charge"), Kill(after="put r#rate"))
    ) as env:
        await bought(env)
    by_key = {key: charged.count(key) for key in charged}
    assert sorted(by_key.values()) in ([1, 1, 2], [1, 2, 2])  # what was under way beside "rate" may run again
    assert charged[0] == charged[1]


@faulty
async def test_a_stalled_owner_goes_on_as_a_zombie_and_changes_nothing() -> None:
    async with Environment(workflows=[shop], faults=Faults(Stall(before="put r#charge", seconds=60))) as env:
        await bought(env)
        trace = list(env.trace)
        claims = [line for line in trace if line.what == "claim order" and line.before != line.after]
        assert [line.who for line in claims][:2] == ["#1", "#3"], "the heir took over while the first stood still"
        late = [line for line in trace if line.who == "#1" and line.at.total_seconds() >= 60]
        assert all(line.before == line.after for line in late), "the zombie changes nothing any more"
    assert charged[:2] == [charged[0]] * 2


@faulty
async def test_a_deadline_in_the_middle_of_a_step_hands_over_and_is_no_death() -> None:
    async with Environment(workflows=[shop], faults=Faults(Deadline("charge")), invocation_seconds=60) as env:
        handle = await env.start(shop, 7, id="order")
        await env.advance(seconds=70)
        detail = await env.describe(handle)
        assert (detail.status, detail.invocations) == ("waiting", 2)
        assert sum(line.what == "renew order" for line in env.trace) == 3, "the heartbeat went on"
    assert len(charged) == 2


@faulty
async def test_overlapping_copies_run_at_the_same_time() -> None:
    async with Environment(workflows=[shop], faults=Faults(Duplicate("start", overlapping=True))) as env:
        await env.start(shop, 7, id="order")
        await env.settle()
        who = [line.who for line in env.trace if line.who]
        assert who.index("#2") < len(who) - 1 - who[::-1].index("#1"), "the first went on after the second"
    assert len(charged) == 1


@workflow(id="faults-ticked", schedule="0 6,12 1 1 *")
async def ticked(ctx: WorkflowContext, tick: SchedulePayload) -> str:
    await ctx.step.run("note", charge, 1)
    return f"{tick.timestamp:%H:%M}"


@pytest.mark.parametrize("backend", ["memory", "moto"])
@pytest.mark.parametrize(
    "given",
    [
        (Early("^tick", seconds=50),),
        (Early("^tick", seconds=3000, nth=2), Duplicate("tick", resent=True, seconds=90)),
        (Early("^tick faults-ticked"), Duplicate("tick", nth=2, overlapping=True), Delay("tick", seconds=30_000)),
    ],
    ids=repr,
)
@faulty
async def test_a_tick_that_scheduler_fires_early_late_or_twice_starts_one_execution(
    backend: Backend, given: tuple[Fault, ...]
) -> None:
    async with Environment(backend, workflows=[ticked], faults=Faults(*given)) as env:
        await env.advance(hours=20)
        assert env.unstruck == (), env.trace
        runs = await env.client.list_executions(workflow_id="faults-ticked")
        assert sorted([await env.finish(run.id) for run in runs]) == ["06:00", "12:00"]
        early = next(fault for fault in given if isinstance(fault, Early))
        due = datetime(2030, 1, 1, 6 * early.nth, tzinfo=UTC)
        first = min(runs, key=lambda run: abs(run.created_at - due))
        assert len(given) > 2 or first.created_at == due - timedelta(seconds=early.seconds)
    assert len(charged) == 2


@pytest.mark.parametrize("backend", ["memory", "moto"])
@faulty
async def test_an_event_may_come_twice_and_out_of_order(backend: Backend) -> None:
    faults = Faults(Delay("event shipped", seconds=500), Duplicate("event shipped", resent=True, seconds=700))
    async with Environment(backend, workflows=[shop], faults=faults) as env:
        handle = await env.start(shop, 7, id="order")
        await env.settle()
        await env.publish("shipped", "by train", event_id="e1")
        await env.settle()
        await env.advance(seconds=200)
        assert (await env.describe(handle)).status == "waiting"
        assert await env.finish(handle) == [7, "by train", [1, 2]]
        await env.advance(hours=1)
        assert env.unstruck == ()
        assert sum(line.what == "message event shipped" for line in env.trace) == 2, "delayed, then taken"
        assert sum(line.what == "answer event shipped" for line in env.trace) == 2, "handled twice"


@pytest.mark.parametrize("backend", ["memory", "moto"])
@faulty
async def test_meanwhile_somebody_else_acts_at_just_this_moment(backend: Backend) -> None:
    async def cancel(client: Polos) -> None:
        await client.cancel_execution("order")

    async with Environment(backend, workflows=[shop], faults=Faults(Meanwhile(do=cancel, after="put r#charge"))) as env:
        with pytest.raises(WorkflowCancelledError):
            await bought(env)
        assert env.unstruck == ()
        assert "✗ Meanwhile(after='put r#charge', do=cancel)" in str(env.trace)
    assert len(charged) == 1


@faulty
async def test_what_goes_wrong_meanwhile_is_raised_to_the_test() -> None:
    async def nonsense(client: Polos) -> None:
        await client.cancel_execution("nobody")

    async with Environment(workflows=[shop], faults=Faults(Meanwhile(do=nonsense, before="claim"))) as env:
        with pytest.raises(ExecutionNotFoundError):
            await bought(env)


@pytest.mark.parametrize("backend", ["memory", "moto"])
@faulty
async def test_one_seed_is_one_run(backend: Backend) -> None:
    traces: list[list[str]] = []
    for _ in range(2):
        async with Environment(backend, workflows=[shop], faults=Faults.random(5, rate=0.03)) as env:
            assert await bought(env) == [7, "by train", [1, 2]]
            assert env.struck
            traces.append([str(line) for line in env.trace])
    shown = [[re.sub(r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b", "", line) for line in trace] for trace in traces]
    if backend == "moto":  # SQS makes its own message ids, of which records hold tags
        shown = [[line.partition("\n")[0] for line in trace] for trace in shown]
    assert shown[0] == shown[1]


@faulty
async def test_random_faults_of_every_kind_are_survived() -> None:
    kinds: set[type[Fault]] = set()
    for seed in range(60):
        async with Environment(workflows=[shop], faults=Faults.random(seed, rate=0.04)) as env:
            try:
                assert await bought(env) == [7, "by train", [1, 2]]
            except BaseException:
                print(env.trace)  # noqa: T201 - for whoever has to find out
                raise
            kinds |= {type(fault) for fault in env.struck}
    assert len(kinds) >= 11


@faulty
async def test_what_struck_at_random_strikes_again_one_by_one() -> None:
    for seed in range(20):
        async with Environment(workflows=[shop], faults=Faults.random(seed, rate=0.03)) as env:
            await bought(env)
            struck, first = env.struck, [line.what for line in env.trace]
        async with Environment(workflows=[shop], faults=Faults(*struck)) as env:
            await bought(env)
            if not any(isinstance(fault, Skew) for fault in struck):  # with skew near waits stay in process
                continue
            assert env.unstruck == ()
            assert [line.what for line in env.trace] == first


counter = [0]


@workflow(id="faults-careless")
async def careless(ctx: WorkflowContext) -> int:
    """Counts in a variable of the process what it should count in a step: a second run of the step shows."""
    await ctx.step.run("count", lambda: counter.__setitem__(0, counter[0] + 1))
    await ctx.step.wait_for("rest", minutes=5)
    return await ctx.step.run("read", lambda: counter[0])


async def counts_once(faults: Faults) -> None:
    counter[0] = 0
    async with Environment(workflows=[careless], faults=faults) as env:
        handle = await env.start(careless, id="run")
        assert await env.finish(handle) == 1, "counted twice"


@faulty
async def test_shrink_leaves_the_one_fault_that_is_enough() -> None:
    faults = Faults(Duplicate("start"), Delay("wake"), Kill(before="put r#count"), LoseReply("suspend"), Skew("wake"))
    shrunk = await shrink(counts_once, faults)
    assert shrunk.faults.given == (Kill(before="put r#count"),)
    assert isinstance(shrunk.error, AssertionError)
    assert "counted twice" in str(shrunk)
    assert "✗ Kill(before='put r#count')" in str(shrunk)


@faulty
async def test_shrink_finds_the_fault_behind_a_seed() -> None:
    for seed in range(200):
        faults = Faults.random(seed, rate=0.1)
        try:
            await counts_once(faults)
        except AssertionError:
            break
    else:
        raise AssertionError("no seed brings it about")
    shrunk = await shrink(counts_once, faults)
    assert len(shrunk.faults.given) == 1
    with pytest.raises(AssertionError, match="counted twice"):
        await counts_once(shrunk.faults)


@faulty
async def test_shrink_refuses_what_does_not_fail() -> None:
    with pytest.raises(UsageError, match="nothing to shrink"):
        await shrink(counts_once, Faults())

    async def forgets(_: Faults) -> None:
        raise ValueError

    with pytest.raises(UsageError, match="opened no Environment"):
        await shrink(forgets, Faults())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Kill(), "Kill needs before= or after="),
        (lambda: Kill(before="a", after="b"), "Kill needs before= or after="),
        (lambda: Throttle(), "Throttle needs at="),
        (lambda: Kill(before="put ("), r"'put \(', which is no regular expression"),
        (lambda: Meanwhile(before="put"), "Meanwhile needs do="),
        (lambda: Delay(3), "takes at= as a text, not 3"),  # type: ignore[arg-type]
        (lambda: Kill(before="put", nth=0), "counts from 1: nth=0"),
        (lambda: Throttle("put", times=0), "counts from 1: times=0"),
        (lambda: Stall(after="put", seconds=-1), "can't take -1 seconds"),
        (lambda: Skew("wake", seconds=0), "can't take 0 seconds"),
        (lambda: Faults("kill"), "'kill' is not a fault; use one of Kill, Stall"),  # type: ignore[arg-type]
        (lambda: Faults.random(1, rate=2), "A rate of 2 is no probability"),
        (lambda: Faults.random(1, kinds=[]), "at least one of Kill"),
        (lambda: Faults.random(1, most=0), "most=0 faults"),
        (lambda: Environment(faults=[Kill(before="put")]), "takes a Faults"),  # type: ignore[arg-type]
        (lambda: Environment().trace, "made without faults"),
    ],
)
def test_nonsense_is_refused_in_a_sentence(make: Callable[[], object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make()


@faulty
async def test_a_fault_that_nothing_meets_is_left_over() -> None:
    never = Kill(before="put r#chrage")
    async with Environment(workflows=[shop], faults=Faults(never)) as env:
        await bought(env)
        assert env.unstruck == (never,)
        assert env.struck == ()
