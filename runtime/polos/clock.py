"""The only module that reads the clock or draws random numbers."""

from __future__ import annotations

import contextlib
import random
import threading
import time
import uuid
from collections.abc import Generator
from datetime import UTC, datetime

_sequence_lock = threading.Lock()
_last_sequence = 0
_drawn: random.Random = random.SystemRandom()


class SystemClock:
    """The machine's clock, as the Clock port."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def real_delay(self, seconds: float) -> float:
        return seconds


def new_id() -> str:
    """A new random id: 32 hexadecimal digits, from the operating system's generator."""
    return uuid.UUID(bytes=_drawn.randbytes(16), version=4).hex


def new_token() -> str:
    """A short token that no other invocation, thread or process uses: 48 random bits."""
    return _drawn.randbytes(6).hex()


def draw() -> float:
    """A random number in [0, 1), from the operating system's generator (safe in cloned processes)."""
    return _drawn.random()


def next_sequence(now_ms: int) -> int:
    """A number that orders events by publisher time: `now_ms` * 2**20, rising within a millisecond of this process."""
    global _last_sequence
    with _sequence_lock:
        same_moment = _last_sequence >> 20 == now_ms
        _last_sequence = _last_sequence + 1 if same_moment else now_ms << 20
        return _last_sequence


def new_uuid() -> str:
    """A random UUID in its usual form."""
    return str(uuid.UUID(bytes=_drawn.randbytes(16), version=4))


def repeatable(seed: str) -> random.Random:
    """Random numbers that are the same for the same seed."""
    return random.Random(seed)


@contextlib.contextmanager
def drawn_from(source: random.Random) -> Generator[None]:
    """Ids, tokens and random numbers of this process come from `source`: a simulated run is the same each time."""
    global _drawn, _last_sequence
    before, _drawn = _drawn, source
    _last_sequence = 0
    try:
        yield
    finally:
        _drawn = before
