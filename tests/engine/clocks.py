"""Virtual time in the tests of the engine: another host's clock, and the next message that is due."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from tests.laws.worlds import World


@contextlib.contextmanager
def other_clock(world: World, seconds: float) -> Iterator[None]:
    """What happens inside happens on a host whose clock differs."""
    clock: Any = world.env.harness.clock
    clock._now += timedelta(seconds=seconds)
    try:
        yield
    finally:
        clock._now -= timedelta(seconds=seconds)


async def next_delivery(world: World) -> Any:
    """The next message, at the moment at which it is due."""
    due = world.env.harness.next_due()
    assert due is not None
    world.env.harness.clock.jump(due)
    return world.take()
