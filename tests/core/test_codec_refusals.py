"""What cannot be stored is refused with its path and the key of its step (SPEC 2.4)."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from typing import Any

import pydantic
import pytest

from polos.core.codec import encode, roundtrip
from polos.errors import SerializationError
from tests.core.codec_values import Address, Box, Failed, Needy, Node, Page, Point, Taxed, Thing, same


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
