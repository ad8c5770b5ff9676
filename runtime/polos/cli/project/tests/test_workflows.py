"""The workflows in virtual time: three days pass in milliseconds."""

from __future__ import annotations

import asyncio

from workflows import Order, order

from polos.testing import Environment


def test_a_small_order_is_shipped() -> None:
    async def scenario() -> None:
        async with Environment(workflows=[order]) as env:
            handle = await env.start(order, Order(item="kettle", amount=42))
            assert await env.finish(handle) == "shipped by reservation of kettle"

    asyncio.run(scenario())


def test_a_large_order_waits_for_approval() -> None:
    async def scenario() -> None:
        async with Environment(workflows=[order]) as env:
            handle = await env.start(order, Order(item="oven", amount=900))
            await env.settle()
            assert (await env.describe(handle)).status == "waiting"
            await env.resume(handle, "approve", {"approved": True})
            assert await env.finish(handle) == "shipped by reservation of oven"

    asyncio.run(scenario())


def test_a_large_order_that_nobody_approves_is_given_up() -> None:
    async def scenario() -> None:
        async with Environment(workflows=[order]) as env:
            handle = await env.start(order, Order(item="oven", amount=900))
            await env.advance(days=3)
            assert await env.finish(handle) == "not approved"
            steps = {step.key: step.status for step in (await env.describe(handle)).steps}
            assert steps == {"reserve": "completed", "approve": "failed", "release": "completed"}

    asyncio.run(scenario())
