"""The fixtures of the feature suite: `world`, one backend under test, and `local`, a database file of one's own."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from polos import ambient
from tests.laws.worlds import World, worlds


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """`moto_sample(at=("a", "b"))`: on moto only these values of a parameter; memory takes them all."""
    chosen: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        callspec = getattr(item, "callspec", None)
        mark = item.get_closest_marker("moto_sample")
        on_moto = mark is not None and callspec is not None and callspec.params.get("world") == "moto"
        kept = not on_moto or all(callspec.params[name] in values for name, values in mark.kwargs.items())
        (chosen if kept else left_out).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = chosen


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
