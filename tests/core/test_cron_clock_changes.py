"""SPEC section 6: ticks of a schedule where clocks change, against a minute-by-minute walk through the time zone."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from polos.core.cron import parse
from polos.core.cron_translation import translate
from tests.core import aws_cron
from tests.core.cron_times import BERLIN, KATHMANDU, LORD_HOWE, MINUTE, NEW_YORK, first, local, utc


def test_s6_a_skipped_local_time_is_skipped_that_day():
    schedule = parse("30 2 * * *", BERLIN)
    assert local(schedule, "2026-03-28", "2026-03-31") == ["28 02:30+0100", "30 02:30+0200"]
    schedule = parse("30 2 * * *", NEW_YORK)
    assert local(schedule, "2026-03-07", "2026-03-10") == ["07 02:30-0500", "09 02:30-0400"]
    schedule = parse("15 2 * * *", LORD_HOWE)  # 02:00 becomes 02:30
    assert local(schedule, "2026-10-03", "2026-10-06") == ["03 02:15+1030", "05 02:15+1100"]


def test_s6_a_repeated_local_time_ticks_once_the_first_time():
    schedule = parse("30 2 * * *", BERLIN)
    assert local(schedule, "2026-10-24", "2026-10-27") == ["24 02:30+0200", "25 02:30+0200", "26 02:30+0100"]
    schedule = parse("30 1 * * *", NEW_YORK)
    assert local(schedule, "2026-10-31", "2026-11-03") == ["31 01:30-0400", "01 01:30-0400", "02 01:30-0500"]
    schedule = parse("45 1 * * *", LORD_HOWE)  # 02:00 becomes 01:30
    assert local(schedule, "2026-04-04", "2026-04-07") == ["04 01:45+1100", "05 01:45+1100", "06 01:45+1030"]


def test_s6_the_edges_of_a_clock_change():
    schedule = parse("0 2,3 * * *", BERLIN)
    assert local(schedule, "2026-03-29", "2026-03-30") == ["29 03:00+0200"]
    assert local(schedule, "2026-10-25", "2026-10-26") == ["25 02:00+0200", "25 03:00+0100"]


def test_s6_a_date_that_is_repeated_in_part():
    schedule = parse("0 0 * * *", "America/St_Johns")  # on 29 October 2006 at 00:01 it was 23:01 of the 28th again
    midnight, again = utc("2006-10-29 02:30"), utc("2006-10-29 02:45")
    assert list(schedule.ticks(utc("2006-10-28 12:00"), again)) == [midnight]
    assert schedule.previous_at_or_before(again) == midnight
    assert schedule.next_after(again) == utc("2006-10-30 03:30")


def test_s6_a_zone_without_clock_changes():
    assert first(parse("0 6 * * *", KATHMANDU), "2026-03-29", 2) == ["2026-03-29 00:15", "2026-03-30 00:15"]


def test_s6_a_day_that_a_zone_left_out_has_no_ticks():
    schedule = parse("0 12 * * *", "Pacific/Apia")  # 30 December 2011 did not exist
    assert local(schedule, "2011-12-29", "2012-01-01") == ["29 12:00-1000", "31 12:00+1400"]


@pytest.mark.parametrize(
    ("timezone", "around", "lost"),
    [
        (BERLIN, "2026-03-29", 0),
        (BERLIN, "2026-10-25", 60),
        (LORD_HOWE, "2026-10-04", 0),
        (LORD_HOWE, "2026-04-05", 30),
    ],
)
def test_s6_every_minute_ticks_without_a_gap_in_spring_and_rests_while_time_repeats(
    timezone: str, around: str, lost: int
):
    start = utc(around) - timedelta(days=1)
    ticks = list(parse("* * * * *", timezone).ticks(start, start + timedelta(days=2)))
    pauses = [later - earlier for earlier, later in pairwise(ticks)]
    assert len(ticks) == 2 * 24 * 60 - lost
    assert sorted(pauses)[-1] == timedelta(minutes=1 + lost)
    assert sorted(pauses)[-2] == MINUTE


CLOCK_CHANGES = [
    (BERLIN, "2026-03-29 01:00"),
    (BERLIN, "2026-10-25 01:00"),
    (NEW_YORK, "2026-03-08 07:00"),
    (NEW_YORK, "2026-11-01 06:00"),
    (LORD_HOWE, "2026-10-03 15:30"),
    (LORD_HOWE, "2026-04-04 15:00"),
    (KATHMANDU, "2026-03-29 00:00"),
    ("America/St_Johns", "2006-10-29 02:31"),  # back over midnight, at one minute past
    ("Africa/Casablanca", "2026-02-15 02:00"),  # winter time is the exception, negative DST
    ("Pacific/Apia", "2011-12-30 10:00"),
    ("Antarctica/Troll", "2026-10-25 01:00"),  # two hours
]
CHANGE_CRONS = ["* * * * *", "*/7 * * * *", "30 * * * *", "30 1,2 * * *", "0 0 * * *", "15 23 * * *", "45 1 L * *"]
CHANGE_CRONS += ["59 0-3 * * 0", "31 2 * * L7", "5-40/5 1-2 29 * SUN"]


@pytest.mark.parametrize(("timezone", "change"), CLOCK_CHANGES)
@pytest.mark.parametrize("cron", CHANGE_CRONS)
def test_s6_law_ticks_are_the_minutes_that_a_wall_clock_shows_for_the_first_time(timezone: str, change: str, cron: str):
    """In forty hours around a change: ticks, next, previous and the translation against a walk over every minute."""
    schedule = parse(cron, timezone)
    scheduler = [aws_cron.parse(expression) for expression in translate(schedule)]
    start, end = utc(change) - timedelta(hours=20), utc(change) + timedelta(hours=20)
    walls = list(wall_clock(timezone, start, end))
    expected = [at for at, wall in walls if not wall.fold and any(aws.names(wall) for aws in scheduler)]
    assert list(schedule.ticks(start, end)) == expected

    asked = [at for at, _ in walls if abs(at - utc(change)) < timedelta(hours=3)]
    for at in asked[::13] + expected:
        following = [tick for tick in expected if tick > at]
        preceding = [tick for tick in expected if tick <= at]
        if following:
            assert schedule.next_after(at) == following[0]
        if preceding:
            assert schedule.previous_at_or_before(at) == preceding[-1]


@cache
def wall_clock(timezone: str, start: datetime, end: datetime) -> tuple[tuple[datetime, datetime], ...]:
    zone = ZoneInfo(timezone)
    minutes = (start + MINUTE * n for n in range(1, (end - start) // MINUTE + 1))
    return tuple((at, at.astimezone(zone)) for at in minutes)
