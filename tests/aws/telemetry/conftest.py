"""The fixture of the telemetry tests: `lines`, which reads what was printed as log lines."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What was written since the last call, each line as JSON."""
    logger = logging.getLogger("polos")
    before = list(logger.handlers)

    def read() -> list[dict[str, Any]]:
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    yield read
    for handler in set(logger.handlers) - set(before):
        logger.removeHandler(handler)
    for name in ("powertools_handler", "init"):
        logger.__dict__.pop(name, None)
    logger.setLevel(logging.NOTSET)
    logger.propagate = True
