"""The pytest plugin: the fixture `polos_env`."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from polos.testing.environment import Environment


@pytest.fixture
def polos_env() -> Generator[Environment]:
    """An `Environment` on the embedded backend in memory with every registered workflow.

    `async with polos_env as env` is possible and not needed: it opens on first use and is closed after the test.
    """
    from polos.testing.environment import Environment

    environment = Environment()
    yield environment
    environment.close()
