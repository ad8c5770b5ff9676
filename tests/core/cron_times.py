"""The times of cron tests, written and read as text."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from polos.core.cron import CronSchedule

MINUTE = timedelta(minutes=1)
HORIZON = (date(2027, 1, 1), date(2029, 1, 1))  # two years, one of them a leap year
BERLIN, NEW_YORK, LORD_HOWE, KATHMANDU = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def first(schedule: CronSchedule, after: str, count: int) -> list[str]:
    """The first `count` ticks after a UTC time, as UTC text."""
    ticks = schedule.ticks(utc(after), utc(after) + timedelta(days=20 * 366))
    return [tick.strftime("%Y-%m-%d %H:%M") for tick in islice(ticks, count)]


def local(schedule: CronSchedule, start: str, end: str) -> list[str]:
    """The ticks of the half-open local day or days, as local text with the offset."""
    zone = ZoneInfo(schedule.timezone)
    after, until = (datetime.fromisoformat(text).replace(tzinfo=zone) - MINUTE for text in (start, end))
    return [tick.astimezone(zone).strftime("%d %H:%M%z") for tick in schedule.ticks(after, until)]
