"""Every snippet of the page runs as written, on both backends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

from polos import Polos, ambient
from polos.testing import Environment
from tests.seed import page

Backend = Literal["memory", "moto"]
WORKFLOWS = [
    page.research,
    page.process_items,
    page.child_workflow,
    page.parent_workflow,
    page.approval_workflow,
    page.onboard_user,
    page.daily_report,
]


@pytest.fixture(params=["memory", "moto"])
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[Environment], Awaitable[None]]], None]:
    """Run a scenario in a fresh environment of one backend."""
    page.calls.clear()
    page.results[:] = []
    page.onboarded.clear()
    page.reports.clear()

    async def scenario(body: Callable[[Environment], Awaitable[None]]) -> None:
        async with Environment(backend=request.param, workflows=WORKFLOWS) as env:
            await body(env)

    return lambda body: asyncio.run(scenario(body))


@pytest.mark.parametrize(
    ("found", "middle"), [(3, ("detailed_analysis", 3)), (11, ("summarize", 11))], ids=["few", "many"]
)
def test_research(run: Any, found: int, middle: tuple[str, int]) -> None:
    async def body(env: Environment) -> None:
        page.results[:] = [{"title": str(number)} for number in range(found)]
        report = await env.finish(await env.start(page.research, page.ResearchInput(topic="AI agents")))
        what = "analysis" if found == 3 else "summary"
        assert report == f"report on {what} of {found}"
        assert page.calls == [
            ("get", "https://api.search.com?q=AI agents"),
            middle,
            ("generate_report", f"{what} of {found}"),
        ]

    run(body)


def test_a_key_per_iteration(run: Any) -> None:
    async def body(env: Environment) -> None:
        handle = await env.start(page.process_items, page.Input(items=["a", "b", "c"]))
        assert await env.finish(handle) is None
        assert page.calls == [("process", "a"), ("process", "b"), ("process", "c")]
        detail = await env.describe(handle)
        assert [(step.key, step.result) for step in detail.steps] == [
            ("process_0", "A"),
            ("process_1", "B"),
            ("process_2", "C"),
        ]

    run(body)


def test_parent_and_child(run: Any) -> None:
    async def body(env: Environment) -> None:
        handle = await env.start(page.parent_workflow, page.ParentInput())
        assert await env.finish(handle) == "child heard Hello!"
        detail = await env.describe(handle)
        assert detail.invocations == 2
        assert len(detail.children) == 1

    run(body)


@pytest.mark.parametrize("approved", [True, False], ids=["approved", "rejected"])
def test_approval_by_event(run: Any, approved: bool) -> None:
    async def body(env: Environment) -> None:
        handle = await env.start(page.approval_workflow, page.Input(id="42", data={"k": "v"}))
        await env.settle()
        assert (await env.describe(handle)).status == "waiting"
        await env.advance(days=3)
        assert page.calls == [("request_approval", {"k": "v"})]
        await env.publish("approval/43", {"approved": not approved})
        await env.publish("approval/42", {"approved": approved})
        await env.finish(handle)
        last = ("execute_action", {"k": "v"}) if approved else ("handle_rejection", {"approved": False})
        assert page.calls == [("request_approval", {"k": "v"}), last]

    run(body)


def test_triggered_by_an_event_with_its_own_model(run: Any) -> None:
    async def body(env: Environment) -> None:
        await env.publish("user/signup", {"user": "ada"})
        await env.publish("user/other", {"user": "eve"})
        await env.publish("user/signup", {"user": "bob", "plan": "pro"})
        await env.settle()
        assert sorted(page.onboarded, key=lambda event: event.user) == [
            page.UserSignUpEvent(user="ada"),
            page.UserSignUpEvent(user="bob", plan="pro"),
        ]

    run(body)


def test_daily_schedule_over_three_days(run: Any) -> None:
    async def body(env: Environment) -> None:
        await env.advance(days=3)
        nine = datetime(2030, 1, 1, 9, tzinfo=UTC)
        assert [report.timestamp for report in page.reports] == [nine + timedelta(days=day) for day in range(3)]
        assert [report.last_timestamp for report in page.reports] == [None, nine, nine + timedelta(days=1)]
        assert [report.upcoming for report in page.reports] == [nine + timedelta(days=day) for day in (1, 2, 3)]

    run(body)


def test_direct_invocation_returns_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the ambient client: nothing configured, the embedded backend in this process."""
    monkeypatch.setenv("POLOS_LOCAL_DB", str(tmp_path / "local.db"))
    page.calls.clear()
    page.results[:] = [{"title": "one"}]
    try:
        assert asyncio.run(page.direct_invocation()) == "report on analysis of 1"
    finally:
        client = ambient.current()
        ambient.use(None)
        assert isinstance(client, Polos)
        client.close()


def test_direct_invocation_under_test(run: Any) -> None:
    async def body(env: Environment) -> None:
        page.results[:] = [{"title": "one"}]
        waiting = asyncio.create_task(page.direct_invocation())
        while not waiting.done():
            await asyncio.sleep(0)
            await env.settle()
        assert await waiting == "report on analysis of 1"

    run(body)
