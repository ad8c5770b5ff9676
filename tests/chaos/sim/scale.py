"""Numbers of the engine that are made small, so that a run comes to their end."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from datetime import timedelta
from typing import Any, Final

from polos.core import items
from polos.engine import commands, controls, dead_letters, retention
from tests.chaos.sim.world import START


def _buckets(before: int) -> Iterator[str]:
    """Of the index those months that a run has come to, instead of ten years."""
    month = (START - timedelta(days=1)).replace(day=1)  # by a clock that is behind it began a month before
    while month <= commands.moment(before):
        yield commands.bucket(commands.millis(month), 0)
        month = (month + timedelta(days=32)).replace(day=1)


_SMALL: Final[tuple[tuple[Any, str, object], ...]] = (
    (controls, "_AT_ONCE", 2),  # of those in line, as many are woken before the next are looked for
    (dead_letters, "ROUNDS", 2),
    (retention, "_buckets", _buckets),
    (items, "SHARDS", 1),
)


@contextlib.contextmanager
def in_small() -> Generator[None]:
    """The small numbers, in force."""
    before = [getattr(where, name) for where, name, _ in _SMALL]
    for where, name, number in _SMALL:
        setattr(where, name, number)
    try:
        yield
    finally:
        for (where, name, _), number in zip(_SMALL, before, strict=True):
            setattr(where, name, number)
