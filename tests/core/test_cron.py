"""SPEC section 6: what a cron expression means, at clock changes too, and its translation for EventBridge Scheduler.

Three judges that share no code with what they judge: croniter's own iterator (for the meaning in plain local time),
a minute-by-minute walk through the time zone (for clock changes), and `tests/core/aws_cron.py` (for the translation).
"""

from __future__ import annotations

import copy
import pickle
import random
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import islice, pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from polos.core.cron import CronSchedule, parse
from polos.core.cron_translation import translate
from polos.errors import PolosError, WorkflowDefinitionError
from tests.core import aws_cron

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


# ---------------------------------------------------------------- the meaning of an expression, in UTC


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


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("cron", "because"),
    [
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("* * * * * *", "five fields"),
        ("0 * * * * * 2027", "five fields"),
        ("@daily", "five fields"),
        ("@every 5m", "five fields"),
        ("0\u00a00 * * *", "five fields"),
        ("60 * * * *", "minute field '60'"),
        ("* 24 * * *", "hour field '24'"),
        ("* * 0 * *", "day-of-month field '0'"),
        ("* * 32 * *", "day-of-month field '32'"),
        ("* * * 13 *", "month field '13'"),
        ("* * * * 8", "day-of-week field '8'"),
        ("* * * * monday", "day-of-week field 'monday'"),
        ("* * * foo *", "month field 'foo'"),
        ("*/0 * * * *", "minute field"),
        ("-1 * * * *", "minute field"),
        ("1- * * * *", "minute field"),
        (", * * * *", "minute field"),
        ("1.5 * * * *", "minute field"),
        ("? * * * *", "minute field"),
        ("L * * * *", "minute field"),
        ("* * * * L", "day-of-week field"),
        ("* * * * 5L", "day-of-week field"),
        ("* * * * 5#6", "day-of-week field"),
        ("* * * * 5#0", "day-of-week field"),
        ("* * L-3 * *", "day-of-month field"),
        ("H * * * *", "minute field 'H'"),
        ("* h(3-5) * * *", "hour field"),
        ("* * * * H/2", "day-of-week field"),
        ("r * * * *", "minute field 'r'"),
        ("0 R/2 * * *", "hour field"),
        ("0 0 15W * *", "day-of-month field '15W'"),
        ("0 0 LW * *", "day-of-month field"),
        ("0 0 * * 1,5#2", "not go together|numbered weekday|day-of-week"),
        ("0 0 * * 0-6,2#1", "numbered weekday"),
        ("0 0 13 * 5#2", "numbered weekday"),
        ("0 0 13 * L5", "numbered weekday"),
        ("0 0 31 2 *", "never occurs"),
        ("0 0 30,31 2 *", "never occurs"),
        ("0 0 31 4,6,9,11 *", "never occurs"),
    ],
)
def test_s2_bad_cron_is_refused_with_a_sentence(cron: str, because: str):
    with pytest.raises(WorkflowDefinitionError, match=because) as caught:
        parse(cron)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, PolosError)


@pytest.mark.parametrize("cron", [None, 5, b"* * * * *", ["*"] * 5])
def test_s2_a_cron_that_is_no_text_is_refused(cron: object):
    with pytest.raises(WorkflowDefinitionError, match="five fields"):
        parse(cron)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "timezone",
    ["", "Mars/Base", "Europe", "CEST5", "+02:00", "../etc/passwd", "/etc/localtime", "localtime", "posix/UTC"]
    + ["right/Europe/Berlin", "a\0b", "Z\u00fcrich", None, 3],
)
def test_s2_an_unknown_zone_is_refused(timezone: object):
    with pytest.raises(WorkflowDefinitionError, match="time zone"):
        parse("* * * * *", timezone)  # type: ignore[arg-type]


def test_s6_utc_needs_no_time_zone_data(monkeypatch: pytest.MonkeyPatch):
    def without_data(key: str) -> ZoneInfo:
        raise ZoneInfoNotFoundError(key)

    monkeypatch.setattr("polos.core.cron.ZoneInfo", without_data)
    assert parse("0 8 * * *").next_after(utc("2026-01-01")) == utc("2026-01-01 08:00")
    with pytest.raises(WorkflowDefinitionError, match="tzdata"):
        parse("0 8 * * *", BERLIN)


def test_s2_a_time_that_every_clock_change_skips_is_refused():
    with pytest.raises(WorkflowDefinitionError, match="never occurs"):
        parse("30 2 * 3 L7", BERLIN)
    assert parse("30 2 * 3 L7", KATHMANDU)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.text(alphabet="0123456789*/,-?#LlHhRrWwMONthufriJAn @", max_size=14).map(lambda text: text + " * * *"))
def test_s2_nothing_but_the_definition_error_comes_out(cron: str):
    with suppress(WorkflowDefinitionError):
        parse(cron)


# ---------------------------------------------------------------- clock changes


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


# ---------------------------------------------------------------- translation


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("* * * * *", ["cron(* * * * ? *)"]),
        ("0 8 * * 1-5", ["cron(0 8 ? * MON-FRI *)"]),
        ("*/15 * * * *", ["cron(0/15 * * * ? *)"]),
        ("7-59/20 * * * *", ["cron(7/20 * * * ? *)"]),
        ("10-59 * * * *", ["cron(10-59 * * * ? *)"]),
        ("0 9-17/2 * * *", ["cron(0 9,11,13,15,17 * * ? *)"]),
        ("0 0 */2 * *", ["cron(0 0 1/2 * ? *)"]),
        ("0 0 * */3 *", ["cron(0 0 * 1/3 ? *)"]),
        ("0 0 * JAN-MAR,12 0", ["cron(0 0 ? 1-3,12 SUN *)"]),
        ("0 0 * * 7", ["cron(0 0 ? * SUN *)"]),
        ("0 0 * * FRI-MON", ["cron(0 0 ? * SUN,MON,FRI,SAT *)"]),
        ("0 0 * * */2", ["cron(0 0 ? * SUN,TUE,THU,SAT *)"]),
        ("0 0 L * *", ["cron(0 0 L * ? *)"]),
        ("0 0 15,L * *", ["cron(0 0 15 * ? *)", "cron(0 0 L * ? *)"]),
        ("0 0 * * L5", ["cron(0 0 ? * 6L *)"]),
        ("0 0 * * 5#2", ["cron(0 0 ? * 6#2 *)"]),
        ("0 0 * * 0#1", ["cron(0 0 ? * 1#1 *)"]),
        ("0 0 * * 1#1,3#2", ["cron(0 0 ? * 2#1 *)", "cron(0 0 ? * 4#2 *)"]),
        ("0 0 13 * 5", ["cron(0 0 13 * ? *)", "cron(0 0 ? * FRI *)"]),
        ("0 0 1,8-10 * 6,7", ["cron(0 0 1,8-10 * ? *)", "cron(0 0 ? * SUN,SAT *)"]),
        ("0 0 1-31 * 1", ["cron(0 0 * * ? *)"]),
        ("0 0 13 * 0-6", ["cron(0 0 * * ? *)"]),
        ("0 0 31 2 1", ["cron(0 0 ? 2 MON *)"]),
        ("0 0 30,31 4 1", ["cron(0 0 30 4 ? *)", "cron(0 0 ? 4 MON *)"]),
    ],
)
def test_s6_translation(cron: str, expected: list[str]):
    assert list(translate(parse(cron, BERLIN))) == expected


def test_s6_the_longest_expression_is_short_enough_for_scheduler():
    minutes, hours, days, months = (
        ",".join(str(n) for n in range(lowest, end) if n % 3) for lowest, end in [(0, 60), (0, 24), (1, 32), (1, 13)]
    )
    (expression,) = translate(parse(f"{minutes} {hours} {days} {months} *"))
    assert len(expression) == 240
    assert aws_cron.parse(expression).minutes == {n for n in range(60) if n % 3}


NUMBERED = ["L5", "L0", "2#1", "fri#5", "MON-FRI#1", "1#1,3#2", "7#3", "1#2,L1", "SAT-SUN#4"]


def generated(seed: int, count: int) -> Iterator[str]:
    """Valid expressions of every shape that the two sides of the translation can disagree about."""
    rng = random.Random(seed)

    def item(lowest: int, highest: int, names: tuple[str, ...]) -> str:
        def value(limit: int = highest) -> str:
            number = rng.randint(lowest, limit)
            named = names and rng.random() < 0.4 and number - lowest < len(names)
            return names[number - lowest] if named else str(number)

        shape = rng.random()
        if shape < 0.45:
            return value()
        if shape < 0.6:
            return f"*/{rng.randint(1, highest + 2)}"
        if shape < 0.7:
            return f"{value()}/{rng.randint(1, 9)}"
        return f"{value()}-{value()}" + (f"/{rng.randint(1, 7)}" if shape > 0.88 else "")

    def field(lowest: int, highest: int, names: tuple[str, ...], star: float) -> str:
        if rng.random() < star:
            return rng.choice("**?") if highest in (31, 7) else "*"
        items = [item(lowest, highest, names) for _ in range(rng.choice([1, 1, 1, 2, 3]))]
        return ",".join(items)

    while count:
        days, weekday = field(1, 31, (), 0.4), field(0, 7, aws_cron.WEEKDAY_NAMES, 0.4)
        if rng.random() < 0.15:
            days = rng.choice(["L", "L," + days, "25-L"]) if days not in "*?" else "L"
        elif rng.random() < 0.15:
            days, weekday = "*", rng.choice(NUMBERED)
        months = field(1, 12, aws_cron.MONTH_NAMES, 0.5)
        if set(months.split(",")) <= {"2", "FEB", "4", "APR"} and weekday in "*?":
            continue  # may name no day at all
        count -= 1
        yield f"{field(0, 59, (), 0.15)} {field(0, 23, (), 0.3)} {days} {months} {weekday}"


@cache
def croniter_times(minutes: str, hours: str) -> frozenset[time]:
    return frozenset(at.time() for at in croniter_ticks(f"{minutes} {hours} * * *", date(2027, 5, 5), date(2027, 5, 6)))


@cache
def croniter_days(days: str, months: str, weekdays: str) -> frozenset[date]:
    return frozenset(at.date() for at in croniter_ticks(f"0 0 {days} {months} {weekdays}", *HORIZON))


def croniter_ticks(cron: str, start: date, end: date) -> Iterator[datetime]:
    """croniter's ticks in plain local time, from `start` up to but not including `end`."""
    midnight = datetime.combine(end, time())
    iterator = croniter(cron, datetime.combine(start, time()) - MINUTE)
    while (at := iterator.get_next(datetime)) < midnight:
        yield at


EVERY_DATE = [HORIZON[0] + timedelta(days=n) for n in range((HORIZON[1] - HORIZON[0]).days)]


@pytest.mark.parametrize("seed", range(6))
def test_s6_law_schedule_and_translation_tick_when_croniter_does(seed: int):
    """Over two years, by the set of days and the set of times of day, whose product the ticks are."""
    for cron in generated(seed, 50):
        minutes, hours, days, months, weekdays = cron.split()
        schedule = parse(cron)
        expected_days = croniter_days(days, months, weekdays)
        expected_times = croniter_times(minutes, hours)

        fields = schedule.fields
        assert {time(hour, minute) for hour in fields.hours for minute in fields.minutes} == expected_times, cron
        named = (
            date(year, month, day)
            for year in (2027, 2028)
            for month in fields.months
            for day in fields.days_in(year, month)
        )
        assert set(named) == expected_days, cron

        scheduler = [aws_cron.parse(expression) for expression in translate(schedule)]
        for aws in scheduler:
            assert {time(hour, minute) for hour in aws.hours for minute in aws.minutes} == expected_times, cron
        assert {day for day in EVERY_DATE if any(aws.names_day(day) for aws in scheduler)} == expected_days, cron


@pytest.mark.parametrize("seed", range(2))
def test_s6_law_ticks_next_and_previous_agree_with_croniter(seed: int):
    for cron in generated(100 + seed, 40):
        schedule = parse(cron)
        start = utc("2027-01-31 23:17")
        iterator = croniter(cron, start.replace(tzinfo=None))
        expected = [iterator.get_next(datetime).replace(tzinfo=UTC) for _ in range(8)]
        assert list(schedule.ticks(start, expected[-1])) == expected, cron
        assert schedule.next_after(start) == expected[0], cron
        for earlier, later in pairwise(expected):
            assert schedule.next_after(earlier) == later, cron
            assert schedule.previous_at_or_before(later - timedelta(seconds=1)) == earlier, cron
