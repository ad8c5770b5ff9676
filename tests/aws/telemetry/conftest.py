"""The fixtures of the telemetry tests: a logger of their own, and `lines`, which reads what was printed to it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

_OF_POWERTOOLS = ("init", "powertools_handler", "powertools_buffer_config", "powertools_buffer_cache")


@pytest.fixture(autouse=True)
def fresh_logger() -> Iterator[None]:
    """The logger as Powertools finds it in a new process, and afterwards as it was."""
    logger = logging.getLogger("polos")
    before = logger.handlers, logger.level, logger.propagate
    marks = {name: logger.__dict__.pop(name) for name in _OF_POWERTOOLS if name in logger.__dict__}
    logger.handlers, logger.propagate = [], True
    logger.setLevel(logging.NOTSET)
    yield
    logger.handlers, level, logger.propagate = before
    logger.setLevel(level)
    for name in _OF_POWERTOOLS:
        logger.__dict__.pop(name, None)
    logger.__dict__.update(marks)


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[dict[str, Any]]]:
    """What was written since the last call, each line as JSON."""

    def read() -> list[dict[str, Any]]:
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return read
