"""Following an execution and its children while they run: what is new since the last look."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

from polos.client import Polos
from polos.errors import ExecutionNotFoundError
from polos.types.types import ExecutionDetail, StepDetail

LOOK_EVERY = 0.15
_MOST = 50
"""Of a batch of thousands, so many open children are looked at."""


@dataclass(frozen=True, slots=True)
class Change:
    """A step that has come to something. `depth` is 0 for the execution itself, 1 for its children, and so on."""

    execution: ExecutionDetail
    step: StepDetail
    depth: int


@dataclass(slots=True)
class Family:
    """An execution and all its descendants, as of one look. A child of a batch that has not begun yet is missing."""

    root: ExecutionDetail
    children: dict[str, ExecutionDetail] = field(default_factory=dict[str, ExecutionDetail])

    def members(self) -> Iterator[tuple[ExecutionDetail, int]]:
        """Parents before their children, with their depths."""
        yield from self._below(self.root, 0)

    def _below(self, execution: ExecutionDetail, depth: int) -> Iterator[tuple[ExecutionDetail, int]]:
        yield execution, depth
        for child in execution.children:
            if child in self.children:
                yield from self._below(self.children[child], depth + 1)

    @property
    def waiting_for(self) -> list[StepDetail]:
        """What it waits for from outside; children that run are no waits, nor is anything while a step runs."""
        if any(one.status in ("running", "queued") for one, _ in self.members()):
            return []
        return [step for one, _ in self.members() for step in one.waiting_for if step.kind not in ("child", "batch")]


async def family(client: Polos, execution_id: str, known: Family | None = None) -> Family:
    """An execution and its descendants. 1 query each, but for those that `known` shows as ended.

    Of more than 50 open children of one execution only the first 50 are in it.
    """
    found = Family(await client.describe(execution_id))
    await _add_children(client, found, found.root, known)
    return found


async def _add_children(client: Polos, found: Family, parent: ExecutionDetail, known: Family | None) -> None:
    asked = 0
    for child in parent.children:
        before = known.children.get(child) if known is not None else None
        if before is None or before.completed_at is None:
            asked += 1
            if asked > _MOST:
                continue
            try:
                before = await client.describe(child)
            except ExecutionNotFoundError:
                continue
        found.children[child] = before
        await _add_children(client, found, before, known)


class Follower:
    """Follows one execution. `seen` steps are those whose outcome was told before."""

    def __init__(self, client: Polos, execution_id: str) -> None:
        self._client, self._execution_id = client, execution_id
        self._told: set[tuple[str, str, str, int]] = set()
        self.family: Family | None = None

    def use(self, client: Polos) -> None:
        """Go on looking through another client."""
        self._client = client

    async def look(self) -> list[Change]:
        """The steps that have ended, failed an attempt or begun to wait since the last look, in order of time."""
        self.family = await family(self._client, self._execution_id, self.family)
        fresh: list[Change] = []
        for execution, depth in self.family.members():
            for step in execution.steps:
                mark = (execution.id, step.key, step.status, step.attempts if step.status == "retrying" else 0)
                if step.status != "started" and mark not in self._told:
                    self._told.add(mark)
                    fresh.append(Change(execution, step, depth))
        return sorted(fresh, key=_moment)


def _moment(change: Change) -> float:
    at = change.step.ended_at or change.step.started_at or change.execution.created_at
    return at.timestamp()


def describe_wait(step: StepDetail) -> str:
    """What a step waits for, in a few words."""
    due = step.detail.get("due")
    limit = f", at most until {due.astimezone():%Y-%m-%d %H:%M:%S}" if due is not None else ""
    match step.kind:
        case "event":
            topic = step.detail.get("topic")
            return (f"an event on {topic}" if topic else "an event") + limit
        case "suspend":
            return f"somebody to resume {step.key}{limit}"
        case "timer":
            return f"a timer{f', until {due.astimezone():%Y-%m-%d %H:%M:%S}' if due is not None else ''}"
        case "child":
            return f"the child {step.detail.get('workflow_id') or step.key}"
        case "batch":
            count, ended = step.detail.get("count", 0), step.detail.get("ended", 0)
            return f"its {count} children" + (f" ({ended} ended)" if ended else "")
        case _:
            return f"the next attempt of {step.key}"


def describe_change(change: Change) -> str:
    """One line about a step."""
    step = change.step
    tries = f" (attempt {step.attempts})" if step.attempts > 1 else ""
    match step.status:
        case "waiting":
            return f"waits for {describe_wait(step)}"
        case "retrying":
            because = f": {step.error.type}: {step.error.message}" if step.error is not None else ""
            return f"attempt {step.attempts} failed{because}"
        case "failed":
            because = f": {step.error.type}: {step.error.message}" if step.error is not None else ""
            return f"failed{tries}{because}"
        case _:
            return f"{step.status}{tries}"


async def watch(follower: Follower, pause: float = LOOK_EVERY) -> AsyncIterator[list[Change]]:
    """Look again and again until the execution has ended; the last look is included."""
    while True:
        yield await follower.look()
        assert follower.family is not None
        if follower.family.root.completed_at is not None:
            return
        await asyncio.sleep(pause)
