"""The loop of a workflow body. L8: nothing that a replay does goes by the addresses of tasks."""

from __future__ import annotations

import asyncio

from polos.core.loop import Body


def test_the_tasks_that_a_body_leaves_behind_are_cancelled_in_the_order_in_which_they_were_made() -> None:
    cancelled: list[int] = []

    async def branch(number: int) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            cancelled.append(number)

    async def main() -> None:
        tasks = [asyncio.ensure_future(branch(number)) for number in range(20)]
        await asyncio.sleep(0)
        assert len(tasks) == 20

    body = Body(main, lambda: None, lambda _: None)
    body.advance()
    assert body.done
    body.close()
    assert cancelled == list(range(20))


def test_closing_a_body_unwinds_every_task() -> None:
    unwound: list[int] = []

    async def branch(number: int) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            unwound.append(number)

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(5):
                group.create_task(branch(number))

    body = Body(main, lambda: None, lambda _: None)
    body.advance()
    assert not body.done
    body.close()
    assert sorted(unwound) == list(range(5))
