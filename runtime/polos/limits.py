"""The numbers of the protocol."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The numbers of the protocol, in seconds unless named otherwise (design.md gives the reason of each)."""

    lease: float = 30.0
    renew: float = 15.0
    margin: float = 5.0
    near: float = 5.0
    stop_before: float = 10.0
    cancel_before: float = 2.0
    event_retention: float = 86_400.0
    event_skew: float = 1.0
    retention: float = 14 * 86_400.0
    horizon: float | None = None
    inline_bytes: int = 100_000
    death_delays: tuple[float, ...] = (60.0, 300.0, 900.0)
    max_deaths: int = 5
    spent: int = 16
    spent_while_owned: int = 200
    controls: float = 15.0
