"""The spans that were exported, as a test asks for them, and a child that has some."""

from __future__ import annotations

from collections import Counter
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from polos import WorkflowContext, workflow


class Written:
    """The spans that were exported, as a test asks for them."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    @property
    def all(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    @property
    def names(self) -> list[str]:
        return sorted(span.name for span in self.all)

    def __getitem__(self, name: str) -> ReadableSpan:
        """The only span of this name."""
        found = [span for span in self.all if span.name == name]
        assert len(found) == 1, f"{name}: {self.names}"
        return found[0]

    def parent(self, name: str) -> str | None:
        """The name of the span above the only one of this name."""
        parent = self[name].parent
        if parent is None:
            return None
        return next(span.name for span in self.all if context_of(span).span_id == parent.span_id)

    def seconds(self, name: str) -> float:
        span = self[name]
        assert span.start_time is not None
        assert span.end_time is not None
        return (span.end_time - span.start_time) / 1e9

    @property
    def ids(self) -> Counter[int]:
        return Counter(context_of(span).span_id for span in self.all)


def context_of(span: ReadableSpan) -> trace.SpanContext:
    context = span.get_span_context()
    assert context is not None
    return context


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def exceptions_of(span: ReadableSpan) -> list[dict[str, Any]]:
    return [dict(event.attributes or {}) for event in span.events if event.name == "exception"]


@workflow(id="traced-child")
async def child(ctx: WorkflowContext, name: str) -> str:
    await ctx.step.wait_for("child nap", minutes=1)
    return await ctx.step.run("child step", lambda: name.upper())
