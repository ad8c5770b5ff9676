"""A case of the corpus: workflows, how to drive them from outside, and the side effects that they leave."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import polos
from polos.core import items
from polos.testing import Environment
from polos.workflow import Workflow

CASES: Final[dict[str, Case]] = {}


class Outside:
    """What the steps of a case act upon. One run at a time."""

    def __init__(self) -> None:
        self.env: Environment | None = None
        self.effects: Counter[tuple[str, str]] = Counter()
        self.keys: dict[tuple[str, str], set[str]] = {}
        self.repeated: list[str] = []

    def begin(self, env: Environment) -> None:
        self.env = env
        self.effects.clear()
        self.keys.clear()
        self.repeated.clear()

    def effect(self, value: Any = None) -> Any:
        """What a step does: leave a trace outside, and notice if its record was there before."""
        me = polos.current_step()
        assert self.env is not None
        item = self.env.harness.peek(items.record(me.execution_id, me.key))
        if item is not None and item.get(items.STATE) == items.DECIDED:
            self.repeated.append(f"{me.execution_id} {me.key}")
        self.effects[me.execution_id, me.key] += 1
        self.keys.setdefault((me.execution_id, me.key), set()).add(me.idempotency_key)
        return me.key if value is None else value


@dataclass(frozen=True)
class Program:
    """The workflows of a case, and what is done with them. The drive's result is compared between runs."""

    workflows: Sequence[Workflow[Any, Any]]
    drive: Callable[[Environment], Awaitable[Any]]


@dataclass(frozen=True)
class Case:
    """What is `loose` may differ or be missing after a crash: a record ("r#KEY"), or all of an execution (its id).

    `never_again`: side effects happen at most once. `also` are results that only a crash can bring about.
    """

    name: str
    make: Callable[[Outside], Program]
    loose: frozenset[str] = frozenset()
    also: tuple[Any, ...] = ()
    never_again: bool = False
    made: list[tuple[Outside, Program]] = field(default_factory=list)

    def program(self) -> tuple[Outside, Program]:
        """Made once a process: a workflow is defined once."""
        if not self.made:
            outside = Outside()
            self.made.append((outside, self.make(outside)))
        return self.made[0]


def case(name: str, **options: Any) -> Callable[[Callable[[Outside], Program]], Callable[[Outside], Program]]:
    """Put a case into the corpus."""

    def add(make: Callable[[Outside], Program]) -> Callable[[Outside], Program]:
        assert name not in CASES, name
        if "loose" in options:
            options["loose"] = frozenset(options["loose"])
        CASES[name] = Case(name, make, **options)
        return make

    return add


async def calm(env: Environment) -> None:
    """Until nothing moves any more that does not wait for something far away: an hour after whatever went wrong."""
    await env.advance(minutes=45)


async def outcome(finishing: Awaitable[Any]) -> Any:
    """The result, or the type and text of the error: what a caller sees."""
    try:
        return await finishing
    except polos.PolosError as error:
        return [type(error).__name__, str(error)]


def noise(size: int, seed: str) -> str:
    """Text that hardly compresses."""
    rows = (base64.b85encode(hashlib.sha256(f"{seed}{n}".encode()).digest()).decode() for n in range(size // 40 + 1))
    return "".join(rows)[:size]
