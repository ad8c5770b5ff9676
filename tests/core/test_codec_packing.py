"""Long text is stored compressed, and what is too large or damaged is refused (SPEC 2.4, 12)."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polos.core.codec import MAX_BYTES, pack, unpack
from polos.errors import PayloadTooLargeError, SerializationError


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
