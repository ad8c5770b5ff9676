"""An independent reading of EventBridge Scheduler's cron syntax, against which the translation is tested.

Written from the User Guide ("Schedule types", "Cron-based schedules") and strict: what the guide does not show to be
valid is a ValueError, so a translation that Scheduler might refuse fails here first. Shares no code with polos.
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache

MONTH_NAMES = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAY_NAMES = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
MAX_LENGTH = 256


@dataclass(frozen=True)
class AwsCron:
    """One parsed `cron(minutes hours day-of-month month day-of-week year)`."""

    minutes: frozenset[int]
    hours: frozenset[int]
    day_of_month: str
    months: frozenset[int]
    day_of_week: str

    def names_day(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        last = monthrange(day.year, day.month)[1]
        if self.day_of_week == "?":
            return day.day == last if self.day_of_month == "L" else day.day in _values(self.day_of_month, 1, 31)
        weekday = day.isoweekday() % 7 + 1
        if numbered := re.fullmatch(r"([1-7])#([1-5])", self.day_of_week):
            return weekday == int(numbered[1]) and (day.day - 1) // 7 + 1 == int(numbered[2])
        if final := re.fullmatch(r"([1-7])L", self.day_of_week):
            return weekday == int(final[1]) and day.day > last - 7
        return weekday in _values(self.day_of_week, 1, 7, WEEKDAY_NAMES, steps=False)

    def names(self, local: datetime) -> bool:
        return local.minute in self.minutes and local.hour in self.hours and self.names_day(local.date())


def parse(expression: str) -> AwsCron:
    if len(expression) > MAX_LENGTH:
        raise ValueError(f"too long: {expression}")
    wrapped = re.fullmatch(r"cron\((\S+) (\S+) (\S+) (\S+) (\S+) \*\)", expression)
    if wrapped is None:
        raise ValueError(f"not a cron expression: {expression}")
    minutes, hours, day_of_month, months, day_of_week = wrapped.groups()
    if (day_of_month == "?") == (day_of_week == "?"):
        raise ValueError(f"exactly one day field must be '?': {expression}")
    if day_of_month not in ("?", "L"):
        _values(day_of_month, 1, 31)
    if day_of_week != "?" and not re.fullmatch(r"[1-7](#[1-5]|L)", day_of_week):
        _values(day_of_week, 1, 7, WEEKDAY_NAMES, steps=False)
    return AwsCron(
        _values(minutes, 0, 59),
        _values(hours, 0, 23),
        day_of_month,
        _values(months, 1, 12, MONTH_NAMES),
        day_of_week,
    )


@cache
def _values(
    field: str, lowest: int, highest: int, names: tuple[str, ...] = (), *, steps: bool = True
) -> frozenset[int]:
    values: set[int] = set()
    for item in field.split(","):
        bounds, slash, step = item.partition("/")
        if slash and not (steps and step.isdigit() and int(step) > 0):
            raise ValueError(f"bad step: {field}")
        if bounds == "*":
            first, last = lowest, highest
        else:
            start, dash, end = bounds.partition("-")
            first = _value(start, names)
            last = _value(end, names) if dash else highest if slash else first
        if not lowest <= first <= last <= highest:
            raise ValueError(f"out of range: {field}")
        values |= set(range(first, last + 1, int(step) if slash else 1))
    return frozenset(values)


def _value(text: str, names: tuple[str, ...]) -> int:
    if text in names:
        return names.index(text) + 1
    if not text.isdigit():
        raise ValueError(f"not a value: {text!r}")
    return int(text)
