"""SPEC section 6: the translation for EventBridge Scheduler, and both it and the schedule against croniter.

The judges share no code with what they judge: croniter's own iterator, and `tests/core/aws_cron.py`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import pairwise

import pytest
from croniter import croniter

from polos.core.cron import parse
from polos.core.cron_translation import translate
from tests.core import aws_cron
from tests.core.cron_times import BERLIN, HORIZON, MINUTE, utc


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
