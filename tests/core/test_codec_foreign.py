"""SPEC 2.4: what another program wrote is read without its classes; a result of one's own is not."""

from __future__ import annotations

import dataclasses
import enum
import json
import sys
import types
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, RootModel

from polos.core.codec import decode, encode, validate
from polos.errors import InvalidPayloadError, SerializationError
from tests.core.codec_values import MODULE, Colour, Frozen, Right

ELSEWHERE = "another_service"
SOURCE = """
import dataclasses, enum
from decimal import Decimal
from typing import NamedTuple
from pydantic import BaseModel, ConfigDict

class Size(enum.Enum):
    BIG = "big"
    PAIR = (1, 2)

class Right(enum.Flag):
    READ = 1
    WRITE = 2

class Line(BaseModel):
    price: Decimal
    size: Size = Size.BIG

class Order(BaseModel):
    model_config = ConfigDict(extra="allow")
    lines: list[Line]
    _secret: int = 1

@dataclasses.dataclass(frozen=True)
class Point:
    x: int

class Pair(NamedTuple):
    left: int
    right: Point
"""


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of another program, with its classes."""
    module: Any = types.ModuleType(ELSEWHERE)
    monkeypatch.setitem(sys.modules, ELSEWHERE, module)
    exec(SOURCE, module.__dict__)
    return module


class Size(enum.Enum):
    BIG = "big"


class Line(BaseModel):
    price: Decimal
    size: Size


class Order(BaseModel):
    lines: list[Line]


@dataclasses.dataclass
class Plain:
    lines: list[Line]


class Lines(RootModel[list[Line]]):
    pass


def test_a_foreign_value_is_read_as_its_fields(other: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    value = {
        "order": other.Order(lines=[other.Line(price="1.50")], more=other.Size.PAIR),
        "pair": other.Pair(1, other.Point(2)),
        "points": {other.Point(3)},
        "deep": {(1, frozenset({other.Point(4)}))},
        "rights": other.Right.READ | other.Right.WRITE,
        "own": Frozen("f", Colour.RED),
    }
    text = encode(value)
    monkeypatch.delitem(sys.modules, ELSEWHERE)
    assert decode(text, foreign=True) == {
        "order": {"lines": [{"price": Decimal("1.50"), "size": "big"}], "more": "PAIR"},
        "pair": {"left": 1, "right": {"x": 2}},
        "points": [{"x": 3}],
        "deep": [(1, [{"x": 4}])],
        "rights": 3,
        "own": Frozen("f", Colour.RED),
    }


def test_a_foreign_value_that_is_a_key_is_refused_in_a_sentence(other: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    text = encode({other.Point(1): 2})
    monkeypatch.delitem(sys.modules, ELSEWHERE)
    with pytest.raises(SerializationError):
        decode(text, foreign=True)


def test_a_result_of_ones_own_is_not(other: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    text = encode([other.Point(1)])
    monkeypatch.delitem(sys.modules, ELSEWHERE)
    with pytest.raises(SerializationError, match="not imported here"):
        decode(text)


def test_a_class_that_is_another_kind_of_thing_here_is_read_as_its_fields() -> None:
    text = json.dumps({"$": "model", "of": f"{MODULE}:Point", "fields": {"x": 1}})
    assert decode(text, foreign=True) == {"x": 1}


def test_foreign_text_that_is_broken_is_refused_all_the_same() -> None:
    for node in ({"$": "model", "of": "gone:A", "fields": 1}, {"$": "hologram"}, {"$": "model", "of": "gone:A"}):
        with pytest.raises(SerializationError):
            decode(json.dumps(node), foreign=True)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    ("annotation", "wanted"),
    [
        (Order, Order(lines=[Line(price=Decimal("1.50"), size=Size.BIG)])),
        (Order | None, Order(lines=[Line(price=Decimal("1.50"), size=Size.BIG)])),
        (Plain, Plain([Line(price=Decimal("1.50"), size=Size.BIG)])),
        (dict, {"lines": [{"price": Decimal("1.50"), "size": "big"}]}),
        (dict[str, Any], {"lines": [{"price": Decimal("1.50"), "size": "big"}]}),
    ],
    ids=str,
)
def test_an_object_of_another_class_becomes_the_annotated_type(
    other: Any, monkeypatch: pytest.MonkeyPatch, annotation: Any, wanted: Any, known: bool
) -> None:
    text = encode(other.Order(lines=[other.Line(price="1.50")]))
    if not known:
        monkeypatch.delitem(sys.modules, ELSEWHERE)
    found = validate(decode(text, foreign=True), annotation, what="x")
    assert (type(found), found) == (type(wanted), wanted)


def test_an_object_of_another_class_inside_of_others(other: Any) -> None:
    own = Line(price=Decimal(2), size=Size.BIG)
    given = {"a": [own, other.Line(price=1)]}
    found: Any = validate(given, dict[str, list[Line]], what="x")
    assert found == {"a": [own, Line(price=Decimal(1), size=Size.BIG)]}
    assert found["a"][0] is own
    assert validate([other.Line(price=1)], Lines, what="x") == Lines([Line(price=Decimal(1), size=Size.BIG)])
    assert validate(other.Size.BIG, Size, what="x") is Size.BIG
    assert validate(other.Right.READ, Right, what="x") is Right.READ


def test_12_fields_that_do_not_fit_are_named(other: Any) -> None:
    class Strict(BaseModel):
        model_config = ConfigDict(extra="forbid")
        x: str
        y: int

    with pytest.raises(InvalidPayloadError) as caught:
        validate(other.Point(1), Strict, what="The payload")
    assert [line.split(":")[0] for line in caught.value.errors] == ["x", "y"]


def test_an_enum_member_is_stored_with_its_value_only_where_that_says_more() -> None:
    assert json.loads(encode(Colour.RED)) == {"$": "enum", "of": f"{MODULE}:Colour", "v": "RED", "value": "r"}
    assert json.loads(encode(Colour.GREEN)) == {"$": "enum", "of": f"{MODULE}:Colour", "v": "GREEN"}
    assert json.loads(encode(Right.READ)) == {"$": "enum", "of": f"{MODULE}:Right", "v": 1}
