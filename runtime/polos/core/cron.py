"""What a cron expression means: which instants are its ticks.

Owns the reading of the expression (by `croniter`, which defines the meaning of each field) and the rule for clock
changes. Must not read the clock; its one contact with the world is the time zone database behind `zoneinfo`.
Keeps SPEC section 6: a tick has one instant, so everything that names an execution after it names it the same way.

Ticks are computed here from the expanded fields and not with croniter's iterator, whose answer at a clock change is
neither Scheduler's nor stable between its versions.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import cached_property
from typing import cast
from zoneinfo import ZoneInfo

from croniter import CroniterError, croniter

from polos.errors import WorkflowDefinitionError

LAST = -1
"""Among days of the month: the last day. As the ordinal of a weekday: the last one in the month."""

HORIZON_YEARS = 60
"""How far a search goes. The rarest expression that occurs at all, a fifth Monday in February, can be 40 years off."""

_FIELD_NAMES = ("minute", "hour", "day-of-month", "month", "day-of-week")
_ALLOWED = (
    "0-59",
    "0-23",
    "1-31 and L for the last day",
    "1-12 and JAN-DEC",
    "0-7 (0 and 7 are Sunday), SUN-SAT, MON#2 for the second Monday and L5 for the last Friday",
)
_WORD = re.compile(r"\S+", re.ASCII)
_HASHED = re.compile(r"(^|,)[hr](?![a-z])", re.IGNORECASE)
_NOT_A_PLACE = re.compile(r"(posix|right)/|(localtime|posixrules|Factory|leapseconds)$")
_REFERENCE = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class CronFields:
    """The fields as explicit values. `None` is an unrestricted day field; weekdays count from 0, Sunday.

    A day is named by `days` *or* `weekdays` *or* `ordinals` (pairs of a weekday and which one of the month). With
    none of them, every day is.
    """

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int] | None
    months: tuple[int, ...]
    weekdays: frozenset[int] | None
    ordinals: frozenset[tuple[int, int]]

    @property
    def every_day(self) -> bool:
        """Whether the day fields restrict nothing."""
        return self.days is None and self.weekdays is None and not self.ordinals

    def days_in(self, year: int, month: int) -> list[int]:
        """The named days of one month, ascending (whether the month itself is named does not matter here)."""
        monday_based, length = monthrange(year, month)
        if self.every_day:
            return list(range(1, length + 1))
        weekday_of_first = (monday_based + 1) % 7
        chosen: set[int] = set()
        if self.days is not None:
            chosen |= {length if day == LAST else day for day in self.days if day <= length}
        for weekday in self.weekdays or ():
            chosen |= set(range(1 + (weekday - weekday_of_first) % 7, length + 1, 7))
        for weekday, ordinal in self.ordinals:
            occurrences = range(1 + (weekday - weekday_of_first) % 7, length + 1, 7)
            if ordinal == LAST or ordinal <= len(occurrences):
                chosen.add(occurrences[LAST if ordinal == LAST else ordinal - 1])
        return sorted(chosen)


@dataclass(frozen=True)
class CronSchedule:
    """A valid cron expression in a time zone. Made by `parse`; equal when expression and zone are.

    Clock changes follow EventBridge Scheduler, so that a schedule ticks alike on every backend: a local time that
    does not exist is skipped on that day, and one that occurs twice ticks once, "before the shift occurs", that is
    the first time (EventBridge Scheduler User Guide, "Schedule types", section "Daylight savings time on EventBridge
    Scheduler", https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html). The guide's example is a
    daily schedule; the same is taken to hold for every expression, so `* * * * *` rests during a repeated hour.
    """

    cron: str
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        object.__setattr__(self, "cron", " ".join(_words(self.cron)))
        _ = self.zone, self.fields
        self.next_after(_REFERENCE)

    @cached_property
    def zone(self) -> tzinfo:
        """The time zone."""
        return _zone(self.timezone)

    @cached_property
    def fields(self) -> CronFields:
        """The expression's fields as explicit values."""
        return _fields(self.cron)

    def next_after(self, moment: datetime) -> datetime:
        """The first tick later than `moment`, in UTC."""
        start = self._local(moment)
        last = date(min(start.year + HORIZON_YEARS, date.max.year), 12, 31)
        for tick in self._instants(self._local_times(start, last)):
            if tick > moment:
                return tick
        raise WorkflowDefinitionError(
            f"The cron expression {self.cron!r} in {self.timezone} never occurs (a date like 31 February, or a local "
            f"time that every clock change skips). Use a day that its months have and a time that exists."
        )

    def previous_at_or_before(self, moment: datetime) -> datetime | None:
        """The last tick that is not later than `moment`, in UTC, or None where `HORIZON_YEARS` hold none."""
        start = self._local(moment)
        if start.fold:  # the whole first pass through the repeated time lies before, also what reads later on the wall
            aware = start.replace(tzinfo=self.zone)
            start += (aware.replace(fold=0).utcoffset() or timedelta()) - (aware.utcoffset() or timedelta())
        last = date(max(start.year - HORIZON_YEARS, date.min.year), 1, 1)
        for tick in self._instants(self._local_times_back(start, last)):
            if tick <= moment:
                return tick
        return None

    def ticks(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Every tick later than `after` and not later than `until`, ascending, in UTC."""
        last = self._local(until).date() + timedelta(days=1)
        for tick in self._instants(self._local_times(self._local(after), last)):
            if tick > until:
                return
            if tick > after:
                yield tick

    def _local(self, moment: datetime) -> datetime:
        if moment.utcoffset() is None:
            raise ValueError(f"A schedule needs a moment with a time zone; {moment.isoformat()} has none.")
        return moment.astimezone(self.zone).replace(tzinfo=None)

    def _instants(self, local_times: Iterator[datetime]) -> Iterator[datetime]:
        """The instants of those local times that exist, in the same order, each at its first occurrence."""
        for local in local_times:
            instant = local.replace(tzinfo=self.zone, fold=0).astimezone(UTC)
            if instant.astimezone(self.zone).replace(tzinfo=None) == local:
                yield instant

    @cached_property
    def _times(self) -> tuple[time, ...]:
        return tuple(time(hour, minute) for hour in self.fields.hours for minute in self.fields.minutes)

    def _local_times(self, start: datetime, last: date) -> Iterator[datetime]:
        for day in self._dates(start.date(), last):
            skipped = bisect_right(self._times, start.time()) if day == start.date() else 0
            for at in self._times[skipped:]:
                yield datetime.combine(day, at)

    def _local_times_back(self, start: datetime, last: date) -> Iterator[datetime]:
        for day in self._dates(start.date(), last):
            kept = bisect_right(self._times, start.time()) if day == start.date() else len(self._times)
            for at in reversed(self._times[:kept]):
                yield datetime.combine(day, at)

    def _dates(self, first: date, last: date) -> Iterator[date]:
        """The named dates from `first` to `last`, both inclusive, in that direction."""
        step = 1 if first <= last else -1
        earliest, latest = min(first, last), max(first, last)
        for index in range(first.year * 12 + first.month - 1, last.year * 12 + last.month - 1 + step, step):
            year, month = index // 12, index % 12 + 1
            if month in self.fields.months:
                for day in self.fields.days_in(year, month)[::step]:
                    if earliest <= (named := date(year, month, day)) <= latest:
                        yield named


def parse(cron: str, timezone: str = "UTC") -> CronSchedule:
    """The schedule that a 5-field cron expression means in an IANA time zone.

    The fields mean what `croniter` says: 0 and 7 are Sunday, a range may wrap (`FRI-MON`), `L` is the last day of the
    month, `L5` the last Friday, `5#2` the second Friday, and day-of-month and day-of-week restricted together mean
    *or*. Mind that croniter reads a range of one value (`5-5`) as the whole field.

    Raises WorkflowDefinitionError for anything else: other field counts, `@daily`, `H`, `R` and `W`, values out of
    range, unknown zones, expressions that never occur, and the combinations to which croniter gives a meaning that
    nobody wrote (`5#2` or `L5` beside a restricted day-of-month or beside plain weekdays).
    """
    return CronSchedule(cron, timezone)


def _words(cron: object) -> list[str]:
    words = _WORD.findall(cron) if isinstance(cron, str) else []
    if len(words) != len(_FIELD_NAMES):
        raise WorkflowDefinitionError(
            f"The cron expression {cron!r} does not have five fields. Write 'minute hour day-of-month month "
            f"day-of-week', for example '0 8 * * 1-5'; seconds, years and names such as @daily are not supported."
        )
    return words


def _zone(timezone: object) -> tzinfo:
    if timezone == "UTC":  # the default must work where there is no time zone data
        return UTC
    try:
        if isinstance(timezone, str) and not _NOT_A_PLACE.match(timezone):
            return ZoneInfo(timezone)
    except (KeyError, ValueError, OSError):  # unknown; not a valid key; a directory such as "Europe"
        pass
    raise WorkflowDefinitionError(
        f"The time zone {timezone!r} is not known. Use an IANA name such as 'UTC', 'Europe/Berlin' or "
        f"'America/New_York' (on a system without time zone data, install the package tzdata)."
    )


def _fields(cron: str) -> CronFields:
    words = cron.split(" ")
    for index, word in enumerate(words):
        if _HASHED.search(word) or (index == 2 and "w" in word.lower()):
            raise _bad_field(cron, index)
    try:
        values, ordinals = _expand(cron)
    except CroniterError as error:
        raise _blame(cron, words) from error
    minutes, hours, days, months, weekdays = values
    numbered = frozenset(weekday for weekday, _ in ordinals)
    if ordinals and (days is not None or numbered != (weekdays or frozenset(range(7)))):
        raise WorkflowDefinitionError(
            f"The cron expression {cron!r} combines a numbered weekday (such as 5#2 or L5) with other days. Use it "
            f"with '*' as day-of-month and without plain weekdays, or make two schedules."
        )
    return CronFields(
        minutes=tuple(sorted(minutes or range(60))),
        hours=tuple(sorted(hours or range(24))),
        days=days,
        months=tuple(sorted(months or range(1, 13))),
        weekdays=None if ordinals else weekdays,
        ordinals=ordinals,
    )


def _expand(cron: str) -> tuple[list[frozenset[int] | None], frozenset[tuple[int, int]]]:
    """Each field's values by croniter, None for an unrestricted one, and the numbered weekdays."""
    expanded, nth = cast(
        "tuple[list[list[int | str]], dict[int, set[int | str]]]",
        croniter.expand(cron),
    )
    fields = [None if "*" in values else frozenset(map(_number, values)) for values in expanded]
    return fields, frozenset((weekday, _number(ordinal)) for weekday, found in nth.items() for ordinal in found)


def _number(value: int | str) -> int:
    return LAST if value == "l" else int(value)


def _blame(cron: str, words: list[str]) -> WorkflowDefinitionError:
    """The error for an expression that croniter refuses, naming the field if one is wrong by itself."""
    for index, word in enumerate(words):
        alone = ["*"] * len(words)
        alone[index] = word
        try:
            _expand(" ".join(alone))
        except CroniterError:
            return _bad_field(cron, index)
    return WorkflowDefinitionError(f"The cron expression {cron!r} is not valid: its fields do not go together.")


def _bad_field(cron: str, index: int) -> WorkflowDefinitionError:
    return WorkflowDefinitionError(
        f"The {_FIELD_NAMES[index]} field {cron.split(' ')[index]!r} of the cron expression {cron!r} is not valid. "
        f"Use '*', {_ALLOWED[index]}, in lists (1,3), ranges (1-5) and steps (*/2); H, R and W are not supported."
    )
