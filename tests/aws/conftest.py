from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import pytest

from polos.clock import SystemClock
from polos.testing.harness import EPOCH, VirtualClock
from polos.testing.moto_account import MotoAccount


@pytest.fixture(autouse=True)
def _no_real_account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("AWS_", "POLOS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(EPOCH, SystemClock())


@pytest.fixture
def requests() -> Counter[str]:
    return Counter()


@pytest.fixture
def account(clock: VirtualClock, requests: Counter[str]) -> Iterator[MotoAccount]:
    account = MotoAccount(clock, requests)
    yield account
    account.close()
