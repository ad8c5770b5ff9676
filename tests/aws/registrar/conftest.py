"""The fixtures of the registrar's tests: `box`, where its answers arrive, and `deployment`, a stack of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from polos.testing.moto_account import MotoAccount
from tests.aws.cloudformation import AnswerBox, answer_box
from tests.aws.registrar.deployment import Deployment


@pytest.fixture
def box() -> Iterator[AnswerBox]:
    with answer_box() as box:
        yield box


@pytest.fixture
def deployment(account: MotoAccount, tmp_path: Path, box: AnswerBox, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    for name, value in account.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("POLOS_APP", "shop")
    return Deployment(account, tmp_path, box)
