"""SPEC 2, 6: a cron expression or a time zone that means nothing is refused with a sentence."""

from __future__ import annotations

from contextlib import suppress
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polos.core.cron import parse
from polos.errors import PolosError, WorkflowDefinitionError
from tests.core.cron_times import BERLIN, KATHMANDU, utc


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
