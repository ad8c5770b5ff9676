"""The fixtures of the handlers' tests: `service` with its `worker` and what it has `told`, and the queue `wakes`."""

from __future__ import annotations

import pytest

from polos.aws.backend import aws_backend
from polos.aws.entry import Service
from polos.aws.visibility import Visibility
from polos.engine.engine import Engine
from polos.testing.moto_account import MotoAccount
from tests.aws.entry.parts import FakeWorker, Noted, Queue


@pytest.fixture
def told() -> Noted:
    return Noted()


@pytest.fixture
def worker() -> FakeWorker:
    return FakeWorker()


@pytest.fixture
def service(account: MotoAccount, worker: FakeWorker, told: Noted) -> Service:
    engine = Engine(aws_backend(account.settings, account.clock, clients=account.runtime), workflows=dict)
    service = Service(engine, account.settings, Visibility(account.runtime, account.settings), told)
    service.worker = worker  # type: ignore[assignment]
    return service


@pytest.fixture
def wakes(account: MotoAccount) -> Queue:
    return Queue(account, "WakeQueue")
