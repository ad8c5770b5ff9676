"""The fixture of the tracing tests: `written`, the spans that were exported."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from opentelemetry import trace

from tests.features.tracing.spans import Written


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Generator[Written]:
    made = Written()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: made.provider)
    yield made
    made.provider.shutdown()
