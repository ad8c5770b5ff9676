"""The timeline of an execution: a row a step, a bar over the time in which it ran or waited."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from polos.cli.following import Family, describe_wait
from polos.types.types import ExecutionDetail, StepDetail

_WAITS = ("timer", "event", "suspend", "child", "batch")
_STYLES = {
    "completed": "green",
    "failed": "bold red",
    "cancelled": "yellow",
    "timed_out": "bold red",
    "waiting": "cyan",
    "retrying": "yellow",
    "running": "blue",
    "abandoned": "yellow",
}
_UNICODE, _ASCII = ("█", "░"), ("#", "-")
_LABEL, _NARROWEST_BAR = 30, 10
_CHILDREN = 10


@dataclass(frozen=True, slots=True)
class Row:
    """One step on the time axis. `ended_at` is None while it goes on; `ran` is when something ran for it."""

    label: str
    status: str
    began_at: datetime
    ended_at: datetime | None
    ran: list[tuple[datetime, datetime | None]]
    note: str


def rows(family: Family, *, children: bool = True) -> Iterator[Row]:
    """The steps of an execution in order; each child's own steps follow the step that waits for it."""
    yield from _rows(family, family.root, 0, children)


def _rows(family: Family, execution: ExecutionDetail, depth: int, children: bool) -> Iterator[Row]:
    for step in execution.steps:
        began = step.started_at or execution.started_at or execution.created_at
        ended = step.ended_at or execution.completed_at  # what an end left undone took until then
        ids = [str(step.detail["child"])] if "child" in step.detail else list(step.detail.get("children", []))
        found = [family.children[one] for one in ids if one in family.children]
        ran = [] if step.kind in _WAITS else [(began, ended)]
        if not children:
            ran += [span for child in found for row in _rows(family, child, depth + 1, children) for span in row.ran]
        yield Row("  " * depth + step.key, step.status, began, ended, ran, _note(step))
        if children:
            yield from _children(family, step, found, depth + 1)


def _children(family: Family, step: StepDetail, found: list[ExecutionDetail], depth: int) -> Iterator[Row]:
    """The steps of a child; of a batch a row for each of its first children, and their steps below it."""
    if "child" in step.detail:
        for child in found:
            yield from _rows(family, child, depth, True)
        return
    for child in found[:_CHILDREN]:
        label = "  " * depth + f"{child.workflow_id} {child.id.rpartition(':')[2]}"
        yield Row(label, child.status, child.created_at, child.completed_at, [], _end(child))
        yield from _rows(family, child, depth + 1, True)
    left = len(step.detail.get("children", [])) - len(found[:_CHILDREN])
    if found and left:
        label = "  " * depth + f"... {left} more children"
        yield Row(label, step.status, found[0].created_at, step.ended_at, [], "")


def _end(child: ExecutionDetail) -> str:
    if child.status == "completed":
        return ""
    because = f": {child.error.type}: {child.error.message}" if child.error is not None else ""
    return child.status.replace("_", " ") + because


def _note(step: StepDetail) -> str:
    parts: list[str] = []
    if step.status == "waiting" and step.kind not in ("child", "batch"):
        parts.append(f"waits for {describe_wait(step)}")
    elif step.status != "completed":
        parts.append(step.status)
    if step.attempts > 1:
        parts.append(f"{step.attempts} attempts")
    if step.error is not None:
        parts.append(f"{step.error.type}: {step.error.message}")
    return ", ".join(parts)


def render(family: Family, now: datetime, console: Console, *, children: bool = True) -> RenderableType:
    """The whole timeline, as wide as the console. Waits are drawn lighter than what ran."""
    root = family.root
    shown = list(rows(family, children=children))
    start = min([root.created_at, *(row.began_at for row in shown)])
    end = max([root.completed_at or now, *(row.ended_at or now for row in shown)])
    head = Text.assemble((root.workflow_id, "bold"), "  ", root.id, no_wrap=True, overflow="ignore")
    parts: list[RenderableType] = [head, _subtitle(root, now)]
    if shown:
        parts.append(_table(shown, start, end, now, console))
    if root.error is not None:
        parts.append(Text(f"{root.error.type}: {root.error.message}", style="red"))
        if root.error.traceback:
            parts.append(Text(root.error.traceback.rstrip(), style="dim"))
    return Group(*parts)


def _subtitle(root: ExecutionDetail, now: datetime) -> Text:
    took = length((root.completed_at or now) - root.created_at)
    word = "after" if root.completed_at is not None else "for"
    times = "invocation" if root.invocations == 1 else "invocations"
    rest = f" {word} {took}, {root.invocations} {times}, started {root.created_at.astimezone():%Y-%m-%d %H:%M:%S}"
    return Text.assemble((root.status.replace("_", " "), _STYLES.get(root.status, "")), (rest, "dim"))


def _table(shown: list[Row], start: datetime, end: datetime, now: datetime, console: Console) -> Table:
    solid, light = _UNICODE if "utf" in console.encoding.lower() else _ASCII
    labels = min(_LABEL, max(len(row.label) for row in shown))
    noted = any(row.note for row in shown)
    notes = min(max(len(row.note) for row in shown), max(12, console.width // 4)) if noted else 0
    width = max(_NARROWEST_BAR, console.width - labels - notes - 8 - 2 * (3 if noted else 2))
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=labels, no_wrap=True)
    table.add_column(width=width, no_wrap=True)
    table.add_column(width=8, justify="right", no_wrap=True)
    if noted:
        table.add_column(overflow="fold")
    for row in shown:
        style = _STYLES.get(row.status, "blue")
        bar = [" "] * width
        for glyph, spans in ((light, [(row.began_at, row.ended_at)]), (solid, row.ran)):
            for began, ended in spans:
                first = place(began, start, end, width)
                last = max(first + 1, place(ended or now, start, end, width))
                bar[first:last] = glyph * (last - first)
        took = length((row.ended_at or now) - row.began_at)
        cells: list[RenderableType] = [Text(shorten(row.label, labels)), Text("".join(bar), style=style), Text(took)]
        if noted:
            cells.append(Text(row.note, style=style if row.status != "completed" else "dim"))
        table.add_row(*cells)
    scale = Text("0 s")
    scale.append(length(end - start).rjust(width - 3))
    table.add_row("", Text(scale.plain, style="dim"), "")
    return table


def place(moment: datetime, start: datetime, end: datetime, width: int) -> int:
    """The column of a moment, from 0 to `width - 1`."""
    whole = (end - start) / timedelta(seconds=1)
    if whole <= 0:
        return 0
    share = (moment - start) / timedelta(seconds=1) / whole
    return max(0, min(width - 1, round(share * width)))


def shorten(text: str, width: int) -> str:
    """The text, with its middle left out where it is too long."""
    if len(text) <= width:
        return text
    front = (width - 1) // 2
    return f"{text[:front]}…{text[len(text) - (width - 1 - front) :]}"


def length(span: timedelta) -> str:
    """A time span for people, in at most 8 characters."""
    seconds = max(0.0, span.total_seconds())
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds) // 60} m {int(seconds) % 60:02d} s"
    if seconds < 86_400:
        return f"{int(seconds) // 3600} h {int(seconds) % 3600 // 60:02d} m"
    return f"{int(seconds) // 86_400} d {int(seconds) % 86_400 // 3600:02d} h"
