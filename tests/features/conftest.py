"""The fixtures of the feature suite: `world`, one backend under test, and `local`, a database file of one's own."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from polos import ambient
from tests.laws.worlds import World, worlds


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Generator[World]:
    with worlds(request.param) as made:
        yield made


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Path]:
    """A path for `Polos(local=...)`, which the ambient client uses too."""
    path = tmp_path / "local.db"
    monkeypatch.setenv("POLOS_LOCAL_DB", str(path))
    monkeypatch.delenv("POLOS_STACK", raising=False)
    outer = ambient.current()
    ambient.use(None)
    yield path
    made = ambient.current()
    if made is not None:
        made.close()  # type: ignore[attr-defined]
    ambient.use(outer)
