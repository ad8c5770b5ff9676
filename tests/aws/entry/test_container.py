"""The container of a handler: it imports the application once, and says what keeps it from that (SPEC 8.8)."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from polos.aws import entry, lambda_handler
from polos.errors import BackendError, UsageError
from polos.testing.moto_account import MotoAccount
from tests.aws.entry.parts import WAKE, Context, Queue

APPLICATION = """
from polos import workflow

@workflow(id="entry-test")
async def entry_test(ctx):
    return 1
"""


@pytest.fixture
def application(
    account: MotoAccount, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[[str], None]]:
    """Writes the application, and sets the environment that its functions have."""
    for name, value in account.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("POLOS_APP", "entry_test_app")
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "work")
    monkeypatch.setenv("POWERTOOLS_METRICS_DISABLED", "true")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(entry, "_container", entry._Container())
    logger = logging.getLogger("polos")
    before = list(logger.handlers), logger.level, logger.propagate
    root = [(handler, list(handler.filters)) for handler in logging.getLogger().handlers]

    def write(text: str) -> None:
        sys.modules.pop("entry_test_app", None)
        (tmp_path / "entry_test_app.py").write_text(text)

    yield write
    sys.modules.pop("entry_test_app", None)
    logger.handlers, logger.level, logger.propagate = before
    for name in ("init", "powertools_handler", "powertools_buffer_config", "powertools_buffer_cache"):
        logger.__dict__.pop(name, None)
    for handler, filters in root:
        handler.filters = filters


def _lambda(event: dict[str, Any], role: str | None = None) -> dict[str, Any]:
    return lambda_handler(role)(event, Context())


def test_the_handler_runs_the_application_that_is_named(
    application: Callable[[str], None], account: MotoAccount
) -> None:
    application(APPLICATION)
    starts = Queue(account, "StartQueue")
    starts.send({"t": "start", "x": "e1", "wf": "entry-test", "so": {}, "cr": 1_893_456_000_000, "in": "null"})

    assert _lambda(starts.receive(), "work") == {"batchItemFailures": []}

    item = account.aws.dynamodb.get_item(TableName=account.settings.table, Key={"pk": {"S": "e1"}, "sk": {"S": "x"}})[
        "Item"
    ]
    assert item["st"] == {"S": "completed"}


def test_the_application_is_loaded_once(application: Callable[[str], None], wakes: Queue) -> None:
    application("import builtins\nbuiltins.loaded = getattr(builtins, 'loaded', 0) + 1\n")
    first, second = lambda_handler("work"), lambda_handler("events")
    for handler in (first, second):
        wakes.send(WAKE)
        handler(wakes.receive(), Context())

    import builtins

    assert builtins.__dict__.pop("loaded") == 1


def test_an_application_that_cannot_be_imported_raises_and_its_message_comes_again_soon(
    application: Callable[[str], None], wakes: Queue
) -> None:
    application("raise RuntimeError('no database')")
    wakes.send(WAKE)

    with pytest.raises(RuntimeError, match="no database"):
        _lambda(wakes.receive())
    assert wakes.invisible_for() == [5]


def test_an_application_that_is_mended_is_imported_anew(application: Callable[[str], None], wakes: Queue) -> None:
    application("raise RuntimeError('no database')")
    handler = lambda_handler("work")
    wakes.send(WAKE)
    with pytest.raises(RuntimeError):
        handler(wakes.receive(), Context())

    application("")
    wakes.send({**WAKE, "x": "e2"})

    assert "batchItemFailures" in handler(wakes.receive(), Context())


@pytest.mark.parametrize(
    ("name", "said"),
    [("", "POLOS_APP is not set"), ("entry_test_app:app.flow", "has no 'app.flow'"), ("nope_app", "nope_app")],
)
def test_a_wrong_name_of_the_application_says_so(
    application: Callable[[str], None], wakes: Queue, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    application("app = 5")
    monkeypatch.setenv("POLOS_APP", name)
    wakes.send(WAKE)

    with pytest.raises((UsageError, ModuleNotFoundError), match=said):
        _lambda(wakes.receive())


def test_a_missing_environment_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry, "_container", entry._Container())
    handler = lambda_handler("work")  # importing a handler outside Lambda does nothing

    with pytest.raises(BackendError, match="AWS_REGION"):
        handler({"Records": []}, Context())


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(
        UsageError, match="no role 'banana'; the roles are dead_letters, events, maintenance, registrar, work"
    ):
        lambda_handler("banana")
