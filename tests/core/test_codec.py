"""Values come back as what they were, of the same types all the way down (SPEC 2.4, L2)."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import ipaddress
import json
import math
import uuid
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polos.core.codec import decode, encode, pack, roundtrip, unpack
from tests.core.codec_values import (
    BERLIN,
    NOON,
    ORDER,
    UTC,
    Address,
    Box,
    Checked,
    Colour,
    Frozen,
    Kind,
    Level,
    Links,
    Names,
    Node,
    Open,
    Outer,
    Page,
    Pair,
    Point,
    Right,
    VipOrder,
    same,
)


class Text(str):
    __slots__ = ()


VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    2**53 + 1,
    -(2**63) - 1,
    2**63,
    10**30,
    7 ** (10**4),
    -(7 ** (10**4)),
    1.5,
    -0.0,
    math.inf,
    -math.inf,
    "",
    "é\u2028😀\x00",
    [],
    {},
    {"a": [1, {"b": None}]},
    {"$": 1},
    {"$": "model", "of": "os:path"},
    {"$": {"$": "$"}, "x": [{"$": []}]},
    {1: "a", "1": "b"},
    {None: 1, (1, 2): 2, dt.date(2024, 1, 1): 3, Kind.A: 4, True: 5, 1.5: 6},
    (),
    (1, (2, [3])),
    {1, 2},
    {frozenset({1}), frozenset()},
    frozenset({"a"}),
    b"",
    b"\x00\xff",
    bytearray(b"ab"),
    NOON,
    NOON.replace(tzinfo=UTC),
    NOON.replace(tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30, seconds=15, microseconds=7))),
    NOON.replace(tzinfo=dt.timezone(dt.timedelta(hours=1), "CET")),
    NOON.replace(tzinfo=BERLIN),
    dt.datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=1),
    dt.datetime.fromisoformat("0001-01-01"),
    dt.datetime.fromisoformat("9999-12-31T23:59:59.999999"),
    dt.date(2024, 2, 29),
    dt.time(12, 30, 1, 5),
    dt.time(12, 30, tzinfo=BERLIN, fold=1),
    dt.time(12, 30, tzinfo=UTC),
    dt.timedelta(days=-1, microseconds=1),
    dt.timedelta.max,
    BERLIN,
    uuid.UUID(int=1),
    decimal.Decimal("1.10"),
    decimal.Decimal("-0E+5"),
    decimal.Decimal("Infinity"),
    Path("a/b"),
    PurePosixPath("/x"),
    PureWindowsPath("c:/x"),
    ipaddress.ip_network("10.0.0.0/8"),
    ipaddress.ip_address("::1"),
    Colour.RED,
    Colour.GREEN,
    Level.LOW,
    Kind.A,
    Right.READ | Right.WRITE,
    Right(0),
    Address(street="s"),
    Address(street="s", zip=None),
    ORDER,
    VipOrder(**ORDER.model_dump(), discount=1.0),
    Names([Kind.A]),
    Open(a=1, **{"$": 2, "b": (1,)}),
    Page[int](items=[1], next=Page[int](items=[2])),
    Page[Address](items=[Address(street="s")]),
    Page[list[Address | None]](items=[[None]]),
    Page[dict[str, tuple[int, ...]]](items=[{"a": (1,)}]),
    Page[Page[Kind]](items=[Page[Kind](items=[Kind.A])]),
    Page(items=[object is None]),
    Links(home=pydantic.HttpUrl("https://x.org/a"), path=Path("x"), ip=ipaddress.IPv4Address("1.2.3.4")),
    Point(1, 2),
    Frozen("n", Colour.RED),
    Box(Box(b"x")),
    Node(Node()),
    Checked(3),
    Pair(1),
    Outer.Inner(v=1),
    {Frozen("n", Colour.GREEN): [Point(1)]},
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_l2_values_come_back_as_the_same_type(value: object) -> None:
    text, found = roundtrip(value)
    assert same(found, value)
    assert encode(found) == text
    text.encode()
    json.loads(text, parse_constant=pytest.fail)
    assert same(decode(text.encode()), value)
    assert same(decode(unpack(pack(text))), value)


def test_nan_comes_back() -> None:
    found = roundtrip({"n": [math.nan]})[1]
    assert math.isnan(found["n"][0])  # type: ignore[index]
    assert str(roundtrip(decimal.Decimal("sNaN"))[1]) == "sNaN"


@pytest.mark.parametrize("value", [None, 1, "a", [1, "b"], {"a": {"b": [1.5, None, True]}}])
def test_json_values_stand_for_themselves(value: object) -> None:
    assert encode(value) == json.dumps(value, separators=(",", ":"))


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(2**3000), max_value=2**3000)
    | st.floats(allow_nan=False)
    | st.text()
    | st.just("$")
    | st.binary()
    | st.datetimes(timezones=st.none() | st.timezones() | st.just(UTC))
    | st.dates()
    | st.times(timezones=st.none() | st.just(UTC) | st.just(BERLIN))
    | st.timedeltas()
    | st.uuids()
    | st.decimals(allow_nan=False)
    | st.sampled_from([*Colour, *Level, *Kind, Right.READ | Right.WRITE])
    | st.builds(Frozen, st.text(), st.sampled_from(Colour))
)


keys = st.just("$") | st.text() | st.integers() | st.dates() | st.tuples(st.integers(), st.text())


def composites(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.just("$") | st.text(), inner)
        | st.dictionaries(keys, inner)
        | st.frozensets(st.integers() | st.text() | st.dates())
        | st.sets(st.uuids() | st.binary())
        | st.builds(Box, inner)
        | st.builds(Pair, st.integers(), st.text())
        | st.builds(Open.model_construct, a=inner)
        | st.builds(lambda value: Open(extra=value), inner)
        | st.builds(lambda value: Page[Any](items=[value]), inner)
        | st.builds(Address, street=st.text(), zip=st.none() | st.text())
    )


@given(st.recursive(scalars, composites, max_leaves=15))
def test_l2_any_mix_of_values_comes_back(value: object) -> None:
    text, found = roundtrip(value)
    assert same(found, value)
    assert same(decode(unpack(pack(text))), value)


def test_l2_plain_subclasses_come_back_as_the_built_in() -> None:
    value = [Text("a"), collections.OrderedDict(a=1), collections.defaultdict(list, b=[2]), collections.Counter("x")]
    found = roundtrip(value)[1]
    assert found == value
    assert [type(item) for item in found] == [str, dict, dict, dict]  # type: ignore[attr-defined]


def test_sets_give_the_same_text_in_any_order() -> None:
    assert encode({"b", "a", "c"}) == encode({"c", "b", "a"}) == '{"$":"set","v":["a","b","c"]}'
