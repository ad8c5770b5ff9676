"""A value becomes what its annotation says, or each field that does not fit is named (SPEC 2.4, 12)."""

from __future__ import annotations

import datetime as dt
import enum
import typing
from collections.abc import Generator, Iterable
from typing import Annotated, Any

import pydantic
import pytest
from pydantic import Field

from polos.core.codec import MISSING, roundtrip, validate
from polos.errors import InvalidPayloadError
from tests.core.codec_values import Address, Movie, Order, Point, Thing


class Kind(enum.Enum):
    SHORT = "short"


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


def test_base_model_stands_for_any_model_and_never_drops_what_is_in_the_data() -> None:
    address = Address(street="s")
    assert validate(address, pydantic.BaseModel, what="x") is address
    assert roundtrip(address, pydantic.BaseModel)[1] == address
    either = pydantic.BaseModel | dict[str, Any] | None
    assert validate(address, either, what="x") is address
    assert validate({"a": 1}, either, what="x") == {"a": 1}
    with pytest.raises(InvalidPayloadError, match="name the model's class"):
        validate({"a": 1}, pydantic.BaseModel, what="x")


def test_validate_keeps_the_order_of_a_union() -> None:
    left = Annotated[int | str, Field(union_mode="left_to_right")]
    right = Annotated[str | int, Field(union_mode="left_to_right")]
    assert validate(True, left, what="x") == 1
    assert validate("1", left, what="x") == 1
    assert validate("1", right, what="x") == "1"


class Visit(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)

    at: dt.datetime
    kind: Kind
    guests: int


def test_a_strict_model_takes_what_json_says_and_converts_nothing_else() -> None:
    """A payload from the command line or from an event has no other way to say a moment."""
    said = {"at": "2026-01-01T00:00:00Z", "kind": "short", "guests": 2}
    visit = Visit(at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC), kind=Kind.SHORT, guests=2)
    assert validate(said, Visit, what="x") == visit
    assert validate([said], list[Visit], what="x") == [visit]
    assert validate(visit.model_dump(), Visit, what="x") == visit
    with pytest.raises(InvalidPayloadError) as caught:
        validate({**said, "guests": "2"}, Visit, what="x")
    assert caught.value.errors == ("guests: Input should be a valid integer",)
    with pytest.raises(InvalidPayloadError, match="at: Input should be"):
        validate({**said, "guests": (2,)}, Visit, what="x")


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


@pytest.mark.parametrize(
    "annotation",
    [
        Iterable[int],
        typing.Iterable[int],
        Generator[int, None, None],
        Iterable[int] | None,
        Annotated[Iterable[int], "x"],
    ],
    ids=str,
)
def test_what_pydantic_reads_but_once_is_a_list(annotation: Any) -> None:
    for given in ([1, "2"], (1, 2)):
        found = validate(given, annotation, what="x")
        assert found == [1, 2]
        assert roundtrip(found)[1] == found
    with pytest.raises(InvalidPayloadError) as caught:
        validate([1, "no"], annotation, what="x")
    assert "1: Input should be a valid integer" in caught.value.errors[0]


def test_what_pydantic_reads_but_once_is_a_list_inside_of_others_too() -> None:
    assert validate({"a": [(1,)]}, dict[str, list[Iterable[int]]], what="x") == {"a": [[1]]}
