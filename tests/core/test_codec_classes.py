"""Which class a stored value comes back as: its module's, its annotation's, its own as it is now (SPEC 2.4, L2)."""

from __future__ import annotations

import dataclasses
import enum
import http
import json
import subprocess
import sys
import textwrap
import typing
from pathlib import Path
from typing import Annotated, Any, Generic, Literal

import pytest
from pydantic import BaseModel

from polos.core import codec
from polos.core.codec import classes_of, decode, encode, roundtrip
from polos.errors import SerializationError
from tests.core.codec_values import (
    MODULE,
    ORDER,
    Address,
    Box,
    Colour,
    Frozen,
    Movie,
    Node,
    Order,
    Page,
    Point,
    T,
    Taxed,
    VipOrder,
    same,
)


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
    found: Any = decode(json.dumps({"$": "model", "of": f"{MODULE}:Address", "fields": {**fields, "gone": 1}}))
    assert (found.zip, found.model_fields_set) == (None, {"street"})
    point: Any = decode(json.dumps({"$": "dataclass", "of": f"{MODULE}:Point", "fields": {"x": 1}}))
    assert (point.x, point.y) == (1, 0)
    with pytest.raises(SerializationError, match="'street'"):
        decode(json.dumps({"$": "model", "of": f"{MODULE}:Address", "fields": {}}))


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
