"""OpenTelemetry spans of executions, where the application has set OpenTelemetry up; otherwise nothing.

All executions of a family are one trace. Its id is made from the root's id, and that of each span from execution and
key, so that invocations which know nothing of each other agree about them: a parent's span can be named before it is
written. The ids reach OpenTelemetry's SDK through the `id_generator` of this package's own tracer; another
implementation of its API has no such thing, and gets no spans.

Nothing here imports OpenTelemetry before the application has: without it, tracing costs one look at `sys.modules`.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import sys
import threading
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from polos.core.failures import Failure
from polos.core.identity import digest

if TYPE_CHECKING:
    from opentelemetry.trace import Span as Span
    from opentelemetry.trace import SpanContext as SpanContext

_log = logging.getLogger("polos")
_NANOS = 1_000_000
_used = threading.Event()
"""Set by a span that has been written and not been flushed."""


def trace_id(root_execution_id: str) -> str:
    """The id of the trace of an execution and all its descendants: 32 hexadecimal digits, to look it up by."""
    return digest("trace", root_execution_id, length=32)


def span_id(execution_id: str, generation: int, *parts: str) -> int:
    """The id of a span of one execution. `generation` counts its retries by hand: each is seen as a run of its own."""
    return int(digest("span", execution_id, str(generation), *parts, length=16), 16)


class NoSpan:
    """What `ctx.step.trace` gives where there is no OpenTelemetry: takes everything, keeps nothing."""

    def set_attribute(self, key: str, value: Any) -> None: ...

    def set_attributes(self, attributes: Mapping[str, Any]) -> None: ...

    def add_event(self, name: str, attributes: Any = None, timestamp: int | None = None) -> None: ...

    def add_link(self, context: Any, attributes: Any = None) -> None: ...

    def record_exception(self, exception: BaseException, *_: Any, **__: Any) -> None: ...

    def set_status(self, status: Any, description: str | None = None) -> None: ...

    def update_name(self, name: str) -> None: ...

    def is_recording(self) -> bool:
        return False

    def end(self, end_time: int | None = None) -> None: ...


class _Ids:
    """Gives the SDK the ids that were chosen for the span being started, and its own ones to everybody else."""

    def __init__(self, others: Any) -> None:
        self._others = others
        self._chosen = threading.local()

    @contextlib.contextmanager
    def chosen(self, trace: int, span: int) -> Generator[None]:
        self._chosen.ids = trace, span
        try:
            yield
        finally:
            self._chosen.ids = None

    def generate_trace_id(self) -> int:
        ids = getattr(self._chosen, "ids", None)
        return self._others.generate_trace_id() if ids is None else ids[0]

    def generate_span_id(self) -> int:
        ids = getattr(self._chosen, "ids", None)
        return self._others.generate_span_id() if ids is None else ids[1]

    def is_trace_id_random(self) -> bool:
        return False


class Tracer:
    """Writes the spans of one family of executions. Times are milliseconds since 1970."""

    def __init__(self, tracer: Any, root_execution_id: str, root_name: str) -> None:
        from opentelemetry import context, trace

        self._trace, self._context, self._tracer = trace, context, tracer
        self._id = int(trace_id(root_execution_id), 16)
        decision = tracer.sampler.should_sample(context.Context(), self._id, root_name, trace.SpanKind.INTERNAL, {}, ())
        self._flags = trace.TraceFlags(decision.decision.is_sampled())

    def at(self, span: int) -> SpanContext:
        """A span of this trace by its id, whoever writes it. Sampled if the trace is."""
        return self._trace.SpanContext(self._id, span, is_remote=True, trace_flags=self._flags)

    def current(self) -> SpanContext | None:
        """The active span, if it belongs to this trace."""
        found = self._trace.get_current_span().get_span_context()
        return found if found.trace_id == self._id else None

    def surrounding(self) -> list[SpanContext]:
        """The active span of another trace: that of the invocation, if somebody traces those."""
        found = self._trace.get_current_span().get_span_context()
        return [found] if found.is_valid and found.trace_id != self._id else []

    def start(
        self,
        name: str,
        span: int,
        parent: SpanContext | None,
        started_at: int,
        attributes: Mapping[str, Any],
        links: Sequence[SpanContext] = (),
    ) -> Span:
        """Begin a span. Only what is ended is exported."""
        outer: Any = self._context.Context()
        if parent is not None:
            outer = self._trace.set_span_in_context(self._trace.NonRecordingSpan(parent), outer)
        with self._tracer.id_generator.chosen(self._id, span):
            return self._tracer.start_span(
                name,
                context=outer,
                attributes={key: value for key, value in attributes.items() if value is not None},
                links=[self._trace.Link(one) for one in links],
                start_time=started_at * _NANOS,
                record_exception=False,
                set_status_on_exception=False,
            )

    def end(self, span: Span, ended_at: int, failure: Failure | None = None) -> None:
        """Write a span: with a status and the exception if it stands for something that failed.

        The names are those of OpenTelemetry's "Semantic conventions for exceptions on spans".
        """
        if failure is not None:
            about = {"exception.type": failure.type, "exception.message": failure.message}
            if failure.traceback:
                about["exception.stacktrace"] = failure.traceback
            span.add_event("exception", about, timestamp=ended_at * _NANOS)
            self.mark_failed(span, f"{failure.type}: {failure.message}")
        span.end(ended_at * _NANOS)
        _used.set()

    def mark_failed(self, span: Span, why: str) -> None:
        span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, why))

    def enter(self, span: Span | SpanContext) -> contextvars.Token[Any]:
        """Make a span the active one of the current context."""
        whole = self._trace.NonRecordingSpan(span) if isinstance(span, self._trace.SpanContext) else span
        return self._context.attach(self._trace.set_span_in_context(whole))

    def leave(self, token: contextvars.Token[Any]) -> None:
        self._context.detach(token)


def tracer_of(root_execution_id: str, root_name: str) -> Tracer | None:
    """The tracer of a family of executions; None if the application has set up no OpenTelemetry SDK."""
    api: Any = sys.modules.get("opentelemetry.trace")
    if api is None or not hasattr(api, "get_tracer_provider"):
        return None
    tracer: Any = api.get_tracer_provider().get_tracer("polos")
    if not hasattr(tracer, "id_generator") or not hasattr(tracer, "sampler"):
        return None  # none was set up, or it is not the SDK's
    if not isinstance(tracer.id_generator, _Ids):
        tracer.id_generator = _Ids(tracer.id_generator)
    return Tracer(tracer, root_execution_id, root_name)


def caller() -> str | None:
    """The span that is active where an execution is started, as a W3C traceparent; None if there is none."""
    api: Any = sys.modules.get("opentelemetry.trace")
    if api is None or not hasattr(api, "get_current_span"):
        return None
    found: SpanContext = api.get_current_span().get_span_context()
    if not found.is_valid:
        return None
    return f"00-{found.trace_id:032x}-{found.span_id:016x}-{found.trace_flags:02x}"


def linked(traceparent: str | None) -> list[SpanContext]:
    """The span that a traceparent names."""
    if traceparent is None:
        return []
    from opentelemetry.trace import SpanContext, TraceFlags

    _, trace, span, flags = traceparent.split("-")
    return [SpanContext(int(trace, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))]


def flush(seconds: float) -> None:
    """Have the spans that were written exported, before a process is frozen. Does nothing if there are none."""
    if not _used.is_set() or seconds <= 0:
        return
    _used.clear()
    from opentelemetry.trace import get_tracer_provider

    provider: Any = get_tracer_provider()
    try:
        provider.force_flush(int(seconds * 1000))
    except Exception as error:  # noqa: BLE001 - an exporter's; what the spans are about is done
        _log.warning("the spans of this invocation could not be exported: %s: %s", type(error).__name__, error)
