"""What an event-triggered workflow that takes a dict is given."""

from __future__ import annotations

import asyncio
from typing import Any

from polos import WorkflowContext, workflow
from polos.testing import Environment


def test_a_dict_gets_the_envelope_with_any_data() -> None:
    got: list[dict[str, Any]] = []

    @workflow(id="trigger-envelope", trigger_on_event="trigger/dict")
    async def body(ctx: WorkflowContext, event: dict[str, Any]) -> None:
        got.append(event)

    async def scenario() -> None:
        async with Environment(workflows=[body]) as env:
            await env.publish("trigger/dict", b"\xff", event_type="raw")
            await env.settle()

    asyncio.run(scenario())
    assert [(event["topic"], event["event_type"], event["data"]) for event in got] == [("trigger/dict", "raw", b"\xff")]
    assert isinstance(got[0]["created_at"], str)
