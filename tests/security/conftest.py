"""The fixture `world`: one backend under test, with its requests in the test's hands."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.laws.worlds import World, worlds


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Generator[World]:
    with worlds(request.param) as made:
        yield made
