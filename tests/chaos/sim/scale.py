"""Numbers of the engine that are made small, so that a run comes to their end."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Any, Final

from polos.core import items
from polos.engine import controls, dead_letters, retention

_SMALL: Final[tuple[tuple[Any, str, int], ...]] = (
    (controls, "_AT_ONCE", 2),  # of those in line, as many are woken before the next are looked for
    (dead_letters, "ROUNDS", 2),
    (retention, "_YEARS", 1),  # a sweep looks at each month of it
    (items, "SHARDS", 1),  # and at each shard
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
