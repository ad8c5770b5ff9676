"""Nothing of an open execution expires, however long it waits; what has ended goes (SPEC 8.9)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from polos import HistoryExpiredError, InvalidPayloadError, WorkflowContext, workflow
from polos.aws.entry import lambda_handler
from polos.core import items
from polos.engine import retention
from polos.engine.retention import Swept
from polos.errors import BackendError, WorkflowFailedError
from polos.testing import Environment
from polos.workflow import _registry
from tests.aws.expiring import Stack
from tests.laws.worlds import law, noise

_before = dict(_registry)
LARGE = 2_000_000
calls: list[str] = []


def make() -> str:
    calls.append("made")
    return noise(LARGE)


@workflow(id="kept-long")
async def long(ctx: WorkflowContext, text: str) -> tuple[int, int]:
    made = await ctx.step.run("make", make)
    await ctx.step.wait_for("sleep", days=400)
    return len(text), len(await ctx.step.run("again", lambda: made))


@workflow(id="kept-short")
async def short(ctx: WorkflowContext) -> int:
    return len(await ctx.step.run("make", make))


@workflow(id="kept-said")
async def said(ctx: WorkflowContext, text: str) -> list[str]:
    before = await ctx.step.run("before", lambda: text)
    await ctx.step.wait_for("sleep", hours=1)
    return [before, await ctx.step.run("after", lambda: text)]


_registry.clear()
_registry.update(_before)


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    calls.clear()
    env = Environment(backend="moto", workflows=[long, short, said])
    yield Stack(env, monkeypatch)
    env.close()


@law
async def test_an_execution_that_waits_400_days_loses_nothing(stack: Stack) -> None:
    handle = await stack.env.start(long, noise(LARGE))
    await stack.live(399)

    assert await stack.env.finish(handle) == (LARGE, LARGE)
    assert calls == ["made"]


@law
async def test_the_embedded_backend_keeps_it_as_well() -> None:
    calls.clear()
    async with Environment(backend="memory", workflows=[long, short]) as env:
        harness: Any = env._open
        handle = await env.start(long, noise(LARGE))
        for _ in range(57):
            await env.advance(days=7)
            harness.local.table.expire(int(env.now.timestamp()))

        assert await env.finish(handle) == (LARGE, LARGE)
        assert calls == ["made"]


@law
async def test_a_month_without_maintenance_is_harmless(stack: Stack) -> None:
    handle = await stack.env.start(long, noise(LARGE))
    for _ in range(5):
        await stack.live(42)
        await stack.live(28, sweeping=False)
    await stack.live(49)

    assert await stack.env.finish(handle) == (LARGE, LARGE)
    assert calls == ["made"]


@law
async def test_at_no_moment_is_less_kept_than_a_table_can_be_set_back(stack: Stack) -> None:
    """35 days of point-in-time recovery: what was open then must not have expired meanwhile."""
    handle = await stack.env.start(long, "text")
    least: list[float] = []
    for _ in range(14):
        await stack.env.advance(days=5)
        stack.sweep()
        item = stack.engine.table.get(items.execution(handle.id)) or {}
        least.append((retention.kept_until(stack.engine, item) or 0) - stack.engine.now())

    assert min(least) / 86_400_000 > 35


@law
async def test_without_maintenance_it_fails_and_runs_no_step_again(stack: Stack) -> None:
    handle = await stack.env.start(long, "text")
    await stack.live(399, sweeping=False)

    with pytest.raises(WorkflowFailedError, match=HistoryExpiredError.__name__):
        await stack.env.finish(handle)
    assert calls == ["made"]


@law
async def test_a_late_maintenance_does_not_keep_what_may_be_broken(
    stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    handle = await stack.env.start(long, "text")
    await stack.live(84, sweeping=False)

    stack.sweep()

    assert "may have expired before they were renewed" in caplog.text
    with pytest.raises(WorkflowFailedError, match=HistoryExpiredError.__name__):
        await stack.env.finish(handle)


@law
async def test_what_has_ended_goes_with_all_that_it_stored(stack: Stack) -> None:
    handle = await stack.env.start(short)
    await stack.env.settle()
    await stack.live(14)
    assert items.EXECUTION in stack.stored(handle.id)

    await stack.live(7)
    assert items.EXECUTION not in stack.stored(handle.id)
    await stack.live(63)
    assert stack.stored(handle.id) == []
    assert stack.objects == []


@law
async def test_an_id_whose_records_outlive_its_execution_is_refused_and_then_free_again(stack: Stack) -> None:
    """Otherwise the second run takes the records of the first for its own, and does nothing."""
    first = await stack.env.start(said, "first", id="order-1")
    await stack.env.advance(hours=2)
    assert await stack.env.finish(first) == ["first", "first"]
    await stack.live(21)
    assert items.EXECUTION not in stack.stored("order-1")

    with pytest.raises(InvalidPayloadError, match="'order-1' was used before"):
        await stack.env.start(said, "second", id="order-1")
    assert items.EXECUTION not in stack.stored("order-1")

    await stack.live(70)
    again = await stack.env.start(said, "second", id="order-1")
    await stack.env.advance(hours=2)
    assert await stack.env.finish(again) == ["second", "second"]


@law
async def test_the_young_and_the_ended_are_not_renewed(stack: Stack) -> None:
    await stack.env.start(long, "text")
    await stack.env.start(short)
    await stack.env.advance(days=16)
    stack.env.requests.clear()

    assert stack.sweep() == Swept(0, complete=True)
    assert set(stack.env.requests) == {"Query"}
    await stack.env.advance(days=8)  # old enough to be looked at, not yet due
    assert stack.sweep() == Swept(0, complete=True)


@law
async def test_a_run_pays_nothing_for_it(stack: Stack) -> None:
    await stack.env.start(short)
    await stack.env.settle()
    with_expiry = Counter(stack.env.requests)
    stack.engine.table._horizon = None  # type: ignore[attr-defined]
    stack.env.requests.clear()
    await stack.env.start(short)
    await stack.env.settle()

    assert Counter(stack.env.requests) == with_expiry


@law
async def test_a_renewal_that_breaks_off_is_done_anew(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = await stack.env.start(long, noise(LARGE))
    await stack.live(35, sweeping=False)
    payloads, until = stack.engine.backend.payloads, stack.engine.table.get(items.execution(handle.id)) or {}

    def breaks(_: str) -> None:
        raise BackendError("S3 is away")

    with monkeypatch.context() as patch:
        patch.setattr(payloads, "renew", breaks)
        with pytest.raises(BackendError):
            stack.sweep()
    assert (stack.engine.table.get(items.execution(handle.id)) or {})[items.KEPT_UNTIL] == until[items.KEPT_UNTIL]

    assert stack.sweep() == Swept(1, complete=True)
    assert stack.sweep() == Swept(0, complete=True)


@law
async def test_what_ends_while_it_is_renewed_stays_as_it_is(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = await stack.env.start(long, "text")
    await stack.live(35, sweeping=False)
    before = stack.engine.table.get(items.execution(handle.id))
    assert before is not None
    await stack.env.client.terminate(handle.id)
    await stack.env.settle()
    ended = stack.engine.table.get(items.execution(handle.id))

    retention.renew(stack.engine, before)

    assert stack.engine.table.get(items.execution(handle.id)) == ended


@law
async def test_a_sweep_ends_before_its_time_and_says_so(stack: Stack) -> None:
    await stack.env.start(long, "text")
    await stack.live(35, sweeping=False)

    assert retention.sweep(stack.engine, lambda: 29) == Swept(0, complete=False)


@law
async def test_raised_retention_is_met_by_looking_at_all(stack: Stack) -> None:
    """What was put before expires as it was told then, and a sweep for the new retention would look too late."""
    handle = await stack.env.start(long, "text")
    await stack.env.advance(minutes=1)
    object.__setattr__(stack.engine.limits, "retention", 365 * 86_400.0)
    object.__setattr__(stack.engine.limits, "horizon", 425 * 86_400.0)
    stack.engine.table._horizon = 425 * 86_400.0  # type: ignore[attr-defined]

    assert stack.sweep() == Swept(0, complete=True)
    assert stack.sweep(whole=True) == Swept(1, complete=True)
    await stack.env.advance(days=399)
    stack.expire()

    assert await stack.env.finish(handle) == (4, LARGE)
    assert calls == ["made"]


class Context:
    def get_remaining_time_in_millis(self) -> int:
        return 900_000


@pytest.mark.parametrize("role", ["maintenance", None])
@law
async def test_the_handler_of_the_role_sweeps(stack: Stack, role: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    from polos.aws import application, entry

    for name, value in stack.account.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(application, "load", lambda: None)
    monkeypatch.setattr(entry, "_container", entry._Container())

    assert lambda_handler(role)({"t": "maintenance"}, Context()) == {"renewed": 0, "events": 0, "complete": True}
