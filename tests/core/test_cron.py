"""SPEC section 6: what a cron expression means, in UTC, and that a schedule is a value."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from polos.core.cron import parse
from tests.core.cron_times import BERLIN, first, utc


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("0 8 * * 1-5", ["01 08:00", "04 08:00", "05 08:00", "06 08:00", "07 08:00", "08 08:00", "11 08:00"]),
        ("0 0 * * 0", ["03 00:00", "10 00:00"]),
        ("0 0 * * 7", ["03 00:00", "10 00:00"]),
        ("0 0 * * SUN", ["03 00:00", "10 00:00"]),
        ("0 0 * * sat,SUN", ["02 00:00", "03 00:00", "09 00:00"]),
        ("0 0 * * FRI-MON", ["01 00:00", "02 00:00", "03 00:00", "04 00:00", "08 00:00"]),
        ("0 0 * * 5-7", ["01 00:00", "02 00:00", "03 00:00", "08 00:00"]),
        ("0 0 * * SUN-SAT/3", ["02 00:00", "03 00:00", "06 00:00", "09 00:00"]),
        ("0 0 */10 * *", ["01 00:00", "11 00:00", "21 00:00", "31 00:00"]),
        ("0 0 2/10 * *", ["02 00:00", "12 00:00", "22 00:00"]),
        ("0 0 ? 1 ?", ["01 00:00", "02 00:00"]),
        ("*/25 3 1 * *", ["01 03:00", "01 03:25", "01 03:50"]),
        ("10-20/5,59 3 1 * *", ["01 03:10", "01 03:15", "01 03:20", "01 03:59"]),
        ("0 22-2/2 1,2 * *", ["01 00:00", "01 02:00", "01 22:00", "02 00:00"]),
        ("0 0 L * *", ["31 00:00"]),
        ("0 0 15,L * *", ["15 00:00", "31 00:00"]),
        ("0 0 29-L * *", ["29 00:00", "30 00:00", "31 00:00"]),
        ("0 0 * * L5", ["29 00:00"]),
        ("0 0 * * 5#2", ["08 00:00"]),
        ("0 0 * * MON-WED#1", ["04 00:00", "05 00:00", "06 00:00"]),
        ("0 0 * * 1#1,L1", ["04 00:00", "25 00:00"]),
        ("0 0 13 * 5", ["01 00:00", "08 00:00", "13 00:00", "15 00:00"]),  # the 13th or a Friday
        ("0 0 L * 0", ["03 00:00", "10 00:00", "17 00:00", "24 00:00", "31 00:00"]),
        ("0 0 */15 * SAT", ["01 00:00", "02 00:00", "09 00:00", "16 00:00"]),
        ("0 0 31 2 1", []),  # 31 February adds nothing, Mondays in February remain
    ],
)
def test_s6_fields_mean_what_croniter_says(cron: str, expected: list[str]):
    ticks = parse(cron).ticks(utc("2026-12-31 23:59"), utc("2027-01-31 23:59"))  # 1 January 2027 is a Friday
    assert [tick.strftime("%d %H:%M") for tick in islice(ticks, len(expected) or 1)] == expected


def test_s6_rare_dates_are_found():
    assert first(parse("0 0 29 2 *"), "2026-01-01", 2) == ["2028-02-29 00:00", "2032-02-29 00:00"]
    assert parse("0 0 29 2 *").next_after(utc("2097-01-01")) == utc("2104-02-29")
    assert parse("0 0 * 2 1#5").next_after(utc("2072-03-01")) == utc("2112-02-29")
    assert parse("0 0 * 2 1#5").previous_at_or_before(utc("2112-02-28")) == utc("2072-02-29")
    assert first(parse("0 0 31 2 MON"), "2026-01-01", 2) == ["2026-02-02 00:00", "2026-02-09 00:00"]


def test_s6_a_range_of_one_value_is_the_whole_field_as_croniter_reads_it():
    assert parse("0 0 * * 1-1").fields == parse("0 0 * * *").fields


def test_s6_next_is_exclusive_and_previous_inclusive():
    schedule = parse("30 6 * * *")
    tick = utc("2026-05-05 06:30")
    assert schedule.next_after(tick) == tick + timedelta(days=1)
    assert schedule.next_after(tick - timedelta(microseconds=1)) == tick
    assert schedule.previous_at_or_before(tick) == tick
    assert schedule.previous_at_or_before(tick - timedelta(microseconds=1)) == tick - timedelta(days=1)
    assert list(schedule.ticks(tick, tick)) == []
    assert list(schedule.ticks(tick, tick + timedelta(days=1))) == [tick + timedelta(days=1)]
    assert list(schedule.ticks(tick, tick - timedelta(days=9))) == []


def test_s6_ticks_are_utc_whatever_the_zone_of_the_question():
    schedule = parse("0 9 * * *", BERLIN)
    asked = datetime(2026, 7, 1, 3, 0, tzinfo=ZoneInfo("Asia/Tokyo"))
    assert schedule.next_after(asked) == utc("2026-07-01 07:00")
    assert schedule.next_after(asked).tzinfo is UTC
    before = schedule.previous_at_or_before(asked)
    assert before is not None
    assert before.tzinfo is UTC


def test_s6_before_the_first_tick_there_is_none():
    assert parse("0 0 1 2 *").previous_at_or_before(utc("0001-01-15")) is None


def test_s6_a_moment_without_zone_is_refused():
    naive = utc("2026-01-01").replace(tzinfo=None)
    with pytest.raises(ValueError, match="time zone"):
        parse("* * * * *").next_after(naive)
    with pytest.raises(ValueError, match="time zone"):
        parse("* * * * *").previous_at_or_before(naive)


def test_a_schedule_is_a_value():
    schedule = parse(" 0  8 * *\t1-5 ", BERLIN)
    assert schedule.cron == "0 8 * * 1-5"
    assert schedule == parse("0 8 * * 1-5", BERLIN)
    assert hash(schedule) == hash(parse("0 8 * * 1-5", BERLIN))
    assert schedule != parse("0 8 * * 1-5")
    assert pickle.loads(pickle.dumps(schedule)) == schedule == copy.deepcopy(schedule)
