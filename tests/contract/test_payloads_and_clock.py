"""The laws of the Payloads and Clock ports."""

from __future__ import annotations

from datetime import timedelta

import pytest

from polos.clock import SystemClock
from polos.ports import Clock
from polos.testing.harness import EPOCH, VirtualClock
from tests.contract.backends import Side

KEYS = ["plain", "parent/child ä@1:2#abc.z", "#events#x.t", "a" * 600, "../up", "q?x=1&y=%20+", "\U0001f600"]


def test_a_payload_comes_back_byte_by_byte_under_any_key(side: Side) -> None:
    for n, key in enumerate(KEYS):
        side.payloads.put(key, bytes([n, 0, 255]))
    for n, key in enumerate(KEYS):
        assert side.payloads.get(key) == bytes([n, 0, 255]), key
        assert side.peer().payloads.get(key) == bytes([n, 0, 255]), key


def test_putting_the_same_again_is_no_error(side: Side) -> None:
    for _ in range(3):
        side.payloads.put("key", b"data")

    assert side.payloads.get("key") == b"data"


@pytest.mark.parametrize("data", [b"", bytes(range(256)) * 20_000], ids=["nothing", "five megabytes"])
def test_a_payload_of_any_size(side: Side, data: bytes) -> None:
    side.payloads.put("key", data)

    assert side.payloads.get("key") == data


def test_a_missing_payload_is_a_key_error(side: Side) -> None:
    side.payloads.put("there", b"x")

    with pytest.raises(KeyError, match="gone"):
        side.payloads.get("gone")


# ---- clock


@pytest.fixture(params=["system", "virtual"])
def clock(request: pytest.FixtureRequest) -> Clock:
    return SystemClock() if request.param == "system" else VirtualClock(EPOCH, SystemClock())


def test_now_is_aware_and_utc(clock: Clock) -> None:
    assert clock.now().utcoffset() == timedelta(0)


def test_time_never_goes_back(clock: Clock) -> None:
    moments = [(clock.now(), clock.monotonic()) for _ in range(1000)]

    assert moments == sorted(moments)
    assert sorted(one for _, one in moments) == [one for _, one in moments]


def test_a_real_delay_is_none_where_time_is_virtual() -> None:
    assert SystemClock().real_delay(0.5) == 0.5
    assert VirtualClock(EPOCH, SystemClock()).real_delay(0.5) == 0


def test_both_times_of_a_virtual_clock_move_together() -> None:
    clock = VirtualClock(EPOCH, SystemClock())
    before = clock.monotonic()
    clock.advance(3600)
    clock.jump(EPOCH)

    assert clock.now() == EPOCH + timedelta(hours=1)
    assert 3600 <= clock.monotonic() - before < 3610
