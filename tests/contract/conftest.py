"""The fixtures `side` (a backend for one test) and `shared` (one for a module: its tests keep apart by their keys)."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from polos.ports import Table
from tests.contract.backends import BACKENDS, Side, opened
from tests.laws.worlds import World, worlds


@pytest.fixture(autouse=True, scope="session")
def _no_real_account() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in [one for one in os.environ if one.startswith(("AWS_", "POLOS_"))]:
            patch.delenv(name)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


@pytest.fixture(params=BACKENDS)
def side(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Side]:
    with opened(request.param, tmp_path) as made:
        yield made


@pytest.fixture(params=BACKENDS, scope="module")
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    with opened(request.param, tmp_path_factory.mktemp("contract")) as made:
        yield made


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with worlds(request.param) as made:
        yield made


_partitions = itertools.count()


@pytest.fixture
def table(shared: Side) -> Table:
    return shared.table


@pytest.fixture
def pk() -> str:
    """A partition of this test's own."""
    return f"contract-{next(_partitions)}"
