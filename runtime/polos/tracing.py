"""OpenTelemetry spans, where OpenTelemetry is installed; otherwise nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping
from typing import Any

try:
    from opentelemetry import trace as _trace
except ImportError:
    _trace = None


@contextlib.contextmanager
def span(name: str, attributes: Mapping[str, Any] | None = None, *, quiet: bool = False) -> Generator[Any]:
    """A span around what is done inside. `quiet`: this is a replay, the span was made before."""
    if _trace is None or quiet:
        yield None
        return
    with _trace.get_tracer("polos").start_as_current_span(name, attributes=dict(attributes or {})) as current:
        yield current
