"""Values as plain JSON: what a program sees that looks from outside."""

from __future__ import annotations

import dataclasses
import enum
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel, Field

from polos.core import codec
from polos.core.plain import as_json, of_text


class Colour(enum.Enum):
    RED = "r"


class Part(BaseModel):
    name: str = Field(alias="partName")
    price: Decimal = Decimal("1.50")


@dataclasses.dataclass
class Parcel:
    parts: list[Part]
    sent_at: datetime


class Blob(BaseModel):
    data: bytes


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        ((1, {"a": (2,)}), [1, {"a": [2]}]),
        (Colour.RED, "r"),
        (Part(partName="hat"), {"name": "hat", "price": "1.50"}),
        (
            Parcel([Part(partName="hat")], datetime(2030, 1, 1, tzinfo=UTC)),
            {"parts": [{"name": "hat", "price": "1.50"}], "sent_at": "2030-01-01T00:00:00Z"},
        ),
        ({Colour.RED: 1, 2: "two"}, {"r": 1, "2": "two"}),
        ({"$": "dict"}, {"$": "dict"}),
    ],
)
def test_a_value_is_shown_as_pydantic_would_dump_it(value: Any, shown: Any) -> None:
    assert as_json(value) == of_text(codec.encode(value)) == shown
    json.dumps(as_json(value))


def test_bytes_that_are_no_text_do_not_hide_the_rest() -> None:
    assert as_json(Blob(data=b"\xff\x00")) == {"data": "/wA="}


def test_a_value_of_classes_that_are_not_known_here_is_shown_by_its_fields() -> None:
    text = (
        '{"$":"model","of":"elsewhere:Order","fields":{"n":{"$":"decimal","v":"1.50"},"kind":{"$":"enum","of":'
        '"elsewhere:Kind","v":"BIG"},"pair":{"$":"tuple","v":[1,2]},"by":{"$":"dict","k":[1],"v":["one"]}},'
        '"extra":{"more":true},"private":{"_secret":1}}'
    )
    assert of_text(text) == {"n": "1.50", "kind": "BIG", "pair": [1, 2], "by": {"1": "one"}, "more": True}


def test_text_that_is_no_json_is_shown_as_it_is() -> None:
    assert of_text("{broken") == "{broken"
