"""Values come back as what they were, and hostile text does nothing (SPEC 2.4, L2, 12)."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import functools
import http
import importlib.util
import ipaddress
import json
import math
import subprocess
import sys
import textwrap
import threading
import types
import typing
import uuid
import zlib
import zoneinfo
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, RootModel
from typing_extensions import TypedDict

from polos.core import codec
from polos.core.codec import (
    MAX_BYTES,
    MISSING,
    classes_of,
    decode,
    encode,
    pack,
    roundtrip,
    unpack,
    validate,
)
from polos.errors import InvalidPayloadError, PayloadTooLargeError, SerializationError

T = TypeVar("T")
UTC = dt.UTC


class Colour(enum.Enum):
    RED = "r"
    GREEN = ("g", 1)


class Level(enum.IntEnum):
    LOW = 1


class Kind(enum.StrEnum):
    A = "a"


class Right(enum.Flag):
    READ = 1
    WRITE = 2


class Address(BaseModel):
    street: str
    zip: str | None = None


class Order(BaseModel):
    id: uuid.UUID
    total: decimal.Decimal
    at: dt.datetime
    items: list[tuple[str, int]] = []
    address: Address | None = None
    colour: Colour = Colour.RED


class VipOrder(Order):
    discount: float = 0.1


class Taxed(BaseModel):
    model_config = ConfigDict(populate_by_name=True)
    net: float = Field(alias="netAmount")
    hidden: str = Field("h", exclude=True)
    _seen: list[int] = PrivateAttr(default_factory=list)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    @pydantic.field_validator("net")
    @classmethod
    def add_tax(cls, value: float) -> float:
        return value * 2

    @pydantic.computed_field
    @property
    def gross(self) -> float:
        return self.net + 1

    @functools.cached_property
    def slow(self) -> Any:
        return threading.Lock()


class Needy(BaseModel):
    _lock: Any = PrivateAttr()


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int = 0


class Names(RootModel[list[Kind]]):
    pass


class Page(BaseModel, Generic[T]):
    items: list[T]
    next: Page[T] | None = None


class Links(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    home: pydantic.HttpUrl
    path: Path
    ip: ipaddress.IPv4Address


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0
    label: str = dataclasses.field(default="", init=False)
    built: int = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.built = self.x + 100
        self.note = ["not a field"]


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    name: str
    colour: Colour


@dataclasses.dataclass
class Box(Generic[T]):
    inside: T


@dataclasses.dataclass
class Node:
    next: Node | None = None


@pydantic.dataclasses.dataclass
class Checked:
    n: int


@dataclasses.dataclass
class Failed(Exception):
    why: str


class Pair(NamedTuple):
    left: int
    right: str = "r"


class Movie(TypedDict):
    address: Address


class Outer:
    class Inner(BaseModel):
        v: int


class Text(str):
    __slots__ = ()


BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
NOON = dt.datetime.fromisoformat("2024-05-01T12:00:00.123456")
ORDER = Order(id=uuid.UUID(int=7), total=decimal.Decimal("1.50"), at=NOON.replace(tzinfo=UTC), items=[("a", 1)])

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


def same(left: object, right: object) -> bool:
    """Equal, and of equal types all the way down."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float) and isinstance(right, float):
        return repr(left) == repr(right)
    if isinstance(left, decimal.Decimal):
        return repr(left) == repr(right)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return same(list(left.items()), list(right.items()))
    if isinstance(left, dt.datetime | dt.time) and isinstance(right, dt.datetime | dt.time):
        return left == right and left.fold == right.fold and repr(left.tzinfo) == repr(right.tzinfo)
    if isinstance(left, set | frozenset) and isinstance(right, set | frozenset):
        return sorted(map(repr, left)) == sorted(map(repr, right)) if left != right else True
    if isinstance(left, BaseModel) and isinstance(right, BaseModel):
        return left == right and left.model_fields_set == right.model_fields_set and same(vars(left), vars(right))
    if hasattr(left, "__dict__") and not isinstance(left, enum.Enum) and dataclasses.is_dataclass(left):
        return left == right and all(same(getattr(left, name), getattr(right, name)) for name in vars(left))
    return left == right


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


TAGS = """dict tuple set frozenset int float bytes bytearray datetime date time timedelta zone uuid decimal path
    model dataclass enum namedtuple HttpUrl IPv4Address nonsense"""
tags = st.sampled_from(TAGS.split())
names = st.sampled_from(
    [f"{__name__}:{name}" for name in ("Order", "Point", "Colour", "Right", "Pair", "Page", "Failed", "Outer", "json")]
) | st.sampled_from(["os:path", "subprocess:Popen", "builtins:eval", "http:HTTPStatus", ":", "nowhere:X"])
raw = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | names | tags


def hostile(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    operand = inner | st.lists(inner, max_size=3) | names
    fields = st.dictionaries(
        st.sampled_from(["id", "x", "left", "items", "next", "__class__", "__dict__"]), inner, max_size=3
    )
    return (
        st.lists(inner)
        | st.dictionaries(st.just("$") | st.text(), inner)
        | st.fixed_dictionaries(
            {"$": tags | inner},
            optional={
                "v": operand,
                "k": operand,
                "of": names | st.lists(names | st.sampled_from(["int", "|", "list"]), max_size=3) | inner,
                "fields": fields | inner,
                "set": operand,
                "extra": fields | inner,
                "private": fields | inner,
                "zone": st.sampled_from(["Europe/Berlin", "../../etc/passwd", "US", "a.b/c", "/"]) | inner,
                "fold": inner,
                "name": inner,
            },
        )
    )


@given(st.recursive(raw, hostile, max_leaves=12))
def test_12_hostile_json_is_a_value_or_a_serialization_error(tree: object) -> None:
    modules = set(sys.modules)
    try:
        decode(json.dumps(tree))
    except SerializationError as error:
        where = error.path
    else:
        where = "$"
    assert where.startswith("$")
    assert {name for name in set(sys.modules) - modules if not name.startswith("tzdata")} == set()


@given(st.text() | st.binary())
def test_12_any_text_is_a_value_or_a_serialization_error(text: str | bytes) -> None:
    try:
        decode(text)
    except SerializationError:
        return


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "NaN",
        "-Infinity",
        "[1,]",
        "9" * 5000,
        b"\xff",
        "[" * 201 + "]" * 201,
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"$":"tuple","v":[' * 201 + "]}" * 201,
        '{"$":1}',
        '{"$":"tuple"}',
        '{"$":"set","v":[[]]}',
        '{"$":"dict","k":[[]],"v":[1]}',
        '{"$":"dict","k":[1],"v":[]}',
        '{"$":"float","v":"1.5"}',
        '{"$":"bytes","v":"!"}',
        '{"$":"decimal","v":"x"}',
        '{"$":"timedelta","v":[1e9,0,0]}',
        '{"$":"timedelta","v":[9999999999,0,0]}',
        '{"$":"datetime","v":"2024-01-01","zone":"../x"}',
        '{"$":"datetime","v":"2024-01-01","zone":"No/Where"}',
        '{"$":"datetime","v":"2024-01-01","fold":7}',
        '{"$":"enum","of":"http:HTTPStatus","v":"OK"}',
        '{"$":"dataclass","of":"subprocess:Popen","fields":{}}',
        '{"$":"model","of":["a"],"fields":{}}',
        json.dumps({"$": "model", "of": f"{__name__}:Point", "fields": {}}),
        json.dumps({"$": "dataclass", "of": f"{__name__}:Failed", "fields": {"why": "x"}}),
        json.dumps({"$": "enum", "of": f"{__name__}:Colour", "v": "BLUE"}),
        json.dumps({"$": "enum", "of": f"{__name__}:Colour", "v": "__class__"}),
        json.dumps({"$": "enum", "of": f"{__name__}:Right", "v": 64}),
        json.dumps({"$": "model", "of": [f"{__name__}:Address", "int"], "fields": {}}),
        json.dumps({"$": "model", "of": f"{__name__}:json", "fields": {}}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_12_malformed_records_are_refused(text: str | bytes) -> None:
    with pytest.raises(SerializationError):
        decode(text)


def test_12_a_record_of_a_newer_version_says_so() -> None:
    with pytest.raises(SerializationError, match="newer version") as caught:
        decode('[{"a":{"$":"quaternion","v":1}}]', step_key="s")
    assert (caught.value.path, caught.value.step_key) == ("$[0].a", "s")


def test_data_never_imports_or_runs_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "never_imported.py").write_text("raise SystemExit")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SerializationError, match="not imported"):
        decode('{"$":"model","of":"never_imported:X","fields":{}}')
    lazy = types.ModuleType("lazy_module")
    asked: list[str] = []
    lazy.__getattr__ = asked.append  # type: ignore[method-assign,assignment]
    monkeypatch.setitem(sys.modules, "lazy_module", lazy)
    with pytest.raises(SerializationError, match="top level"):
        decode('{"$":"model","of":"lazy_module:X","fields":{}}')
    assert "X" not in asked
    spec = importlib.util.find_spec("never_imported")
    assert spec is not None
    assert spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    postponed = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(postponed)
    monkeypatch.setitem(sys.modules, "never_imported", postponed)
    with pytest.raises(SerializationError, match="top level"):
        decode('{"$":"model","of":"never_imported:X","fields":{}}')


def test_a_name_that_a_module_only_borrows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    borrower = types.ModuleType("borrower")
    borrower.Address = Address  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "borrower", borrower)
    with pytest.raises(SerializationError, match="defines"):
        decode('{"$":"model","of":"borrower:Address","fields":{"street":"s"}}')


class Thing:
    pass


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (Thing(), "$"),
        ({"items": [1, 2, 3, {"owner": Thing()}]}, "$.items[3].owner"),
        ([Box(Thing())], "$[0].inside"),
        ({"a b": Thing()}, '$["a b"]'),
        ({1: Thing()}, "$[1]"),
        (Page[Any](items=[Thing()]), "$.items[0]"),
        ((Thing,), "$[0]"),
        ([lambda: 1], "$[0]"),
        (iter([1]), "$"),
        ([threading.Lock()], "$[0]"),
        (pydantic.SecretStr("s"), "$"),
        (["\ud800"], "$[0]"),
        ({"\ud800": 1}, "$"),
        ([dt.time(1, tzinfo=dt.UTC), "a\udfffb"], "$[1]"),
        ([Failed("x")], "$[0]"),
        (Address.model_construct(), "$"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_stored_names_its_path_and_key(value: object, path: str) -> None:
    with pytest.raises(SerializationError) as caught:
        encode(value, step_key="charge")
    assert caught.value.path == path
    assert path in str(caught.value)
    assert "'charge'" in str(caught.value)


def test_a_private_attribute_that_cannot_be_stored_takes_its_default_or_is_named() -> None:
    value = Taxed(netAmount=1)
    value._seen.append(3)
    assert value.slow is not None
    found: Any = roundtrip(value)[1]
    assert (found.net, found.hidden, found.gross, found._seen) == (2.0, "h", 3.0, [3])
    assert found._lock is not value._lock
    assert not found._lock.locked()
    needy = Needy()
    needy._lock = threading.Lock()
    with pytest.raises(SerializationError, match="_lock"):
        encode([needy])


def test_a_failing_result_says_that_the_function_ran() -> None:
    with pytest.raises(SerializationError, match="did run") as caught:
        roundtrip([Thing()], step_key="charge")
    assert caught.value.path == "$[0]"
    assert "Thing" in str(caught.value)
    with pytest.raises(SerializationError) as caught:
        roundtrip([Thing()])
    assert "did run" not in str(caught.value)


def test_forgotten_await_is_named() -> None:
    async def fetch() -> None: ...

    coroutine = fetch()
    with pytest.raises(SerializationError, match="await"):
        encode(coroutine)
    asyncio.run(coroutine)


def test_cycles_and_depth() -> None:
    loop: list[object] = []
    loop.append({"a": loop})
    with pytest.raises(SerializationError, match="contains itself") as caught:
        encode(loop)
    assert caught.value.path == "$[0].a"
    ring = Node()
    ring.next = ring
    with pytest.raises(SerializationError, match="contains itself"):
        encode(ring)
    deep: object = 1
    for _ in range(200):
        deep = [deep]
    assert same(roundtrip(deep)[1], deep)
    with pytest.raises(SerializationError, match="200 levels"):
        encode([deep])
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(SerializationError):
        encode(deep)


def test_depth_of_tagged_values_that_encode_is_depth_that_decodes() -> None:
    deep, pairs = Node(), ()
    for _ in range(199):
        deep, pairs = Node(deep), (pairs,)  # type: ignore[assignment]
    for value in (deep, pairs):
        assert encode(roundtrip(value)[1]) == encode(value)
    with pytest.raises(SerializationError, match="200 levels"):
        encode(Node(deep))


class Explosive:
    @property
    def __await__(self) -> object:
        raise KeyError("boom")


def test_code_of_the_value_that_raises_is_a_serialization_error() -> None:
    with pytest.raises(SerializationError, match="boom") as caught:
        encode({"a": [Explosive()]}, step_key="k")
    assert caught.value.path == "$.a[0]"


def test_the_same_object_twice_is_no_cycle() -> None:
    point = Point(1)
    assert roundtrip([point, point, (point,)])[1] == [point, point, (point,)]


def test_l2_plain_subclasses_come_back_as_the_built_in() -> None:
    value = [Text("a"), collections.OrderedDict(a=1), collections.defaultdict(list, b=[2]), collections.Counter("x")]
    found = roundtrip(value)[1]
    assert found == value
    assert [type(item) for item in found] == [str, dict, dict, dict]  # type: ignore[attr-defined]


def test_sets_give_the_same_text_in_any_order() -> None:
    assert encode({"b", "a", "c"}) == encode({"c", "b", "a"}) == '{"$":"set","v":["a","b","c"]}'


def test_a_class_in_a_function_comes_back_only_through_an_annotation() -> None:
    class Local(BaseModel):
        n: int

    class Wrap(BaseModel):
        inner: Local

    @dataclasses.dataclass
    class Data:
        n: int

    class Hue(enum.Enum):
        A = 1

    class Many(BaseModel, Generic[T]):
        items: list[T]

    cases: list[tuple[object, object]] = [
        (Local(n=1), Local),
        ([Local(n=1)], list[Local]),
        (Local(n=1), Local | None),
        ({"a": Local(n=1)}, dict[str, Local]),
        (Wrap(inner=Local(n=1)), Wrap),
        (Local(n=1), Wrap),
        (Data(1), Data),
        (Hue.A, Annotated[Hue, "x"]),
        (Hue.A, Literal[Hue.A]),
        (Many[Local](items=[Local(n=1)]), Many[Local]),
        (Many[int](items=[1]), Many[int]),
        (Many(items=[Hue.A]), Many[Hue]),
    ]
    for value, annotation in cases:
        with pytest.raises(SerializationError, match="inside a function"):
            encode(value, step_key="k")
        text, found = roundtrip(value, annotation)
        assert same(found, value)
        with pytest.raises(SerializationError):
            decode(text)
        assert same(decode(text, allowed=classes_of(annotation)), value)
        assert same(decode(text, allowed=list(classes_of(annotation))), value)


def test_two_local_classes_of_one_name_are_told_apart() -> None:
    def make() -> type[BaseModel]:
        class Local(BaseModel):
            n: int

        return Local

    first, second = make(), make()
    with pytest.raises(SerializationError, match="another class"):
        encode(first(n=1), annotation=second)


def test_an_annotation_never_converts() -> None:
    assert roundtrip("x", int)[1] == "x"
    assert roundtrip({"street": "s"}, Address)[1] == {"street": "s"}
    assert same(roundtrip((1,), list[int])[1], (1,))


def test_a_subclass_comes_back_as_the_subclass() -> None:
    value = VipOrder(**ORDER.model_dump())
    assert type(roundtrip(value, Order)[1]) is VipOrder


def test_standard_library_classes_need_an_annotation() -> None:
    with pytest.raises(SerializationError, match="standard library"):
        encode(http.HTTPStatus.OK)
    assert roundtrip([http.HTTPStatus.OK], list[http.HTTPStatus])[1] == [http.HTTPStatus.OK]


def test_models_are_not_validated_again_and_post_init_does_not_run() -> None:
    assert roundtrip(Taxed(netAmount=5))[1].net == 10.0  # type: ignore[attr-defined]
    point = Point(1)
    point.x, point.note = 2, ["changed"]
    found: Any = roundtrip(point)[1]
    assert (found.x, found.built, found.note) == (2, 101, ["changed"])
    loose = Address.model_construct(street=(1, 2))
    assert roundtrip(loose)[1].street == (1, 2)  # type: ignore[attr-defined]


def test_a_field_added_since_takes_its_default() -> None:
    fields = {"street": "s"}
    found: Any = decode(json.dumps({"$": "model", "of": f"{__name__}:Address", "fields": {**fields, "gone": 1}}))
    assert (found.zip, found.model_fields_set) == (None, {"street"})
    point: Any = decode(json.dumps({"$": "dataclass", "of": f"{__name__}:Point", "fields": {"x": 1}}))
    assert (point.x, point.y) == (1, 0)
    with pytest.raises(SerializationError, match="'street'"):
        decode(json.dumps({"$": "model", "of": f"{__name__}:Address", "fields": {}}))


def test_classes_of_walks_deeply() -> None:
    assert classes_of(Order) == {Order, Address, Colour}
    assert classes_of(Movie) == {Address}
    assert classes_of(dict[str, list[Order | None]]) == {Order, Address, Colour}
    assert classes_of(Node) == {Node}
    assert classes_of(Box[Frozen]) == {Box, Frozen, Colour}
    assert classes_of(typing.NewType("N", Point)) == {Point}
    assert {Page, Address} <= classes_of(Page[Address])
    assert classes_of(None) == classes_of(int) == classes_of("Order") == classes_of(Any) == frozenset()
    assert classes_of(Annotated[Point, {"un": "hashable"}]) == {Point}


MAIN = """
import sys
sys.path.insert(0, {runtime!r})
from pydantic import BaseModel
from polos.core.codec import encode, decode

class Order(BaseModel):
    n: int

if __name__ == "__main__":
    text = encode(Order(n=1))
    assert type(decode(text)) is Order
    print(text)
"""


@pytest.mark.parametrize(
    "command", [["app.py"], ["-m", "app"], ["-c", "import app; print(app.encode(app.Order(n=1)))"]]
)
def test_the_main_program_is_stored_under_its_real_name(tmp_path: Path, command: list[str]) -> None:
    runtime = str(Path(codec.__file__).parents[2])
    (tmp_path / "app.py").write_text(textwrap.dedent(MAIN.format(runtime=runtime)))
    done = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == '{"$":"model","of":"app:Order","fields":{"n":1}}'


def test_pack_is_for_long_text_that_compresses() -> None:
    assert pack("a" * 599) == "a" * 599
    packed = pack("a" * 600)
    assert isinstance(packed, bytes)
    assert len(packed) < 100
    assert unpack(packed) == "a" * 600
    assert isinstance(pack("é" * 300), bytes)


@given(st.text())
def test_pack_and_unpack_are_inverse(text: str) -> None:
    assert unpack(pack(text * 50)) == text * 50


def test_a_decompression_bomb_is_refused() -> None:
    bomb = zlib.compress(b"a" * 1_000_000)
    with pytest.raises(PayloadTooLargeError) as caught:
        unpack(bomb, limit=1000)
    assert caught.value.size == 1001
    assert unpack(bomb, limit=1_000_000) == "a" * 1_000_000
    with pytest.raises(PayloadTooLargeError):
        unpack(bomb, limit=999_999)


def test_what_unpack_would_refuse_is_not_packed() -> None:
    with pytest.raises(PayloadTooLargeError, match="The result"):
        pack("a" * (MAX_BYTES + 1), what="The result")


@given(st.binary())
def test_12_damaged_bytes_are_a_serialization_error(data: bytes) -> None:
    whole = zlib.compress(b"hello" * 100)
    for damaged in (data, whole[:-1], whole + b"x", zlib.compress(b"\xff")):
        with pytest.raises(SerializationError):
            unpack(damaged)


def test_validate_gives_the_annotated_type() -> None:
    assert validate({"street": "s"}, Address, what="The input") == Address(street="s")
    model = Address(street="s")
    assert validate(model, Address, what="The input") is model
    assert validate({"x": "1"}, Point, what="The input") == Point(1)
    assert validate(None, Address | None, what="The input") is None
    assert validate([{"street": "s"}], list[Address], what="The input") == [model]
    assert validate({"a": 1}, dict, what="The input") == {"a": 1}
    thing = Thing()
    assert validate(thing, MISSING, what="The input") is thing
    assert validate(thing, Any, what="The input") is thing
    assert validate({"address": {"street": "s"}}, Movie, what="The input") == {"address": model}


def test_validate_keeps_the_order_of_a_union() -> None:
    left = Annotated[int | str, Field(union_mode="left_to_right")]
    right = Annotated[str | int, Field(union_mode="left_to_right")]
    assert validate(True, left, what="x") == 1
    assert validate("1", left, what="x") == 1
    assert validate("1", right, what="x") == "1"


def test_12_validate_names_each_field() -> None:
    with pytest.raises(InvalidPayloadError) as caught:
        validate({"items": [["a", "no"]], "total": "1"}, Order, what="The payload of workflow 'ship'")
    message = str(caught.value)
    assert message.startswith("The payload of workflow 'ship' does not fit Order: ")
    assert [line.split(":")[0] for line in caught.value.errors] == ["id", "at", "items.0.1"]
    with pytest.raises(InvalidPayloadError, match="whole value"):
        validate(3, Address, what="The input")


def test_12_validate_reports_annotations_and_validators_that_fail() -> None:
    with pytest.raises(InvalidPayloadError, match="cannot validate"):
        validate(1, Thing, what="The input")

    def explode(value: object) -> object:
        raise KeyError("boom")

    with pytest.raises(InvalidPayloadError, match="KeyError"):
        validate(1, Annotated[int, pydantic.AfterValidator(explode)], what="The input")
