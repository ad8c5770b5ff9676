"""Spans of time as users give them: seconds or a timedelta. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

MOST: Final = 100 * 366 * 86_400.0
"""A century: a longer limit is a mistake, and infinity and NaN are no numbers that can be stored."""


def seconds_of(given: object) -> float | None:
    """The span in seconds; None for None. `ValueError` unless it is a number above 0, or a timedelta."""
    span = given.total_seconds() if isinstance(given, timedelta) else given
    if span is None:
        return None
    if isinstance(span, int | float) and not isinstance(span, bool) and 0 < span <= MOST:
        return span
    raise ValueError(f"must be a positive number of seconds (at most a century), or a timedelta, not {given!r}")
