from __future__ import annotations

from collections.abc import Iterator

import pytest

from polos.testing import Environment
from tests.aws.dead_letters.parts import WORKFLOWS, Stack, effects


@pytest.fixture
def stack() -> Iterator[Stack]:
    effects.clear()
    env = Environment(backend="moto", workflows=WORKFLOWS)
    yield Stack(env)
    env.close()
