"""What the workflows of a run do, as data: a program is a list of operations, of which some hold further programs.

A program is made by a seeded generator for the simulator, and by the same generator under hypothesis, which then
shrinks it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

TOPICS = ("t1", "t2")
TYPES = (None, None, None, "a", "b")


@dataclass(frozen=True)
class Op:
    """One operation. `parts` are the programs inside: branches, a child's own, a try's body and cleanup."""

    kind: str
    key: str = ""
    parts: tuple[tuple[Op, ...], ...] = ()
    seconds: float = 0.0
    fails: int = 0
    retries: int = 2
    delay: float = 1.0
    timeout: float | None = None
    once: bool = False
    catch: bool = True
    topic: str = ""
    event_type: str | None = None
    options: tuple[tuple[str, Any], ...] = ()
    big: bool = False

    def __repr__(self) -> str:
        plain = Op(self.kind)
        said = [
            f"{name}={getattr(self, name)!r}"
            for name in self.__dataclass_fields__
            if name not in ("kind", "parts") and getattr(self, name) != getattr(plain, name)
        ]
        inner = [f"[{', '.join(map(repr, part))}]" for part in self.parts]
        return f"{self.kind}({', '.join([*said, *inner])})"


Program = tuple[Op, ...]


@dataclass(frozen=True)
class Root:
    """An execution that a client starts: which workflow, at what time, with which options."""

    id: str
    workflow: str
    program: Program
    at: float = 0.0
    options: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Act:
    """Something that a client does from outside."""

    kind: str
    at: float
    target: str = ""
    topic: str = ""
    event_type: str | None = None
    step: str = ""
    copies: tuple[float, ...] = ()


@dataclass(frozen=True)
class Plan:
    """The workload of one run. `focus` names the kinds of requests that it is about.

    `receives`: after so many receipts the queue gives a message up. `horizon`: after so many seconds what executions
    have stored expires. `strikes`: which fault strikes which kind of request, again and again.
    """

    shape: str
    roots: tuple[Root, ...]
    acts: tuple[Act, ...] = ()
    focus: tuple[str, ...] = ()
    programs: tuple[tuple[str, Program], ...] = ()
    receives: int | None = None
    horizon: float | None = None
    strikes: tuple[tuple[str, str], ...] = ()

    def smaller(self) -> Iterator[Plan]:
        """Plans with one thing less."""
        for index in range(len(self.acts)):
            yield replace(self, acts=self.acts[:index] + self.acts[index + 1 :])
        for index in range(len(self.roots)):
            if len(self.roots) > 1:
                yield replace(self, roots=self.roots[:index] + self.roots[index + 1 :])
        for index, root in enumerate(self.roots):
            for program in smaller(root.program):
                changed = replace(root, program=program)
                yield replace(self, roots=(*self.roots[:index], changed, *self.roots[index + 1 :]))
            if root.options:
                changed = replace(root, options=())
                yield replace(self, roots=(*self.roots[:index], changed, *self.roots[index + 1 :]))


def smaller(program: Program) -> Iterator[Program]:
    """Programs with one operation less, or one operation replaced by what it holds."""
    for index, op in enumerate(program):
        before, after = program[:index], program[index + 1 :]
        yield before + after
        for part in op.parts:
            yield before + part + after
        for number, part in enumerate(op.parts):
            if len(op.parts) > 1:
                yield (*before, replace(op, parts=op.parts[:number] + op.parts[number + 1 :]), *after)
            for less in smaller(part):
                parts = (*op.parts[:number], less, *op.parts[number + 1 :])
                yield (*before, replace(op, parts=parts), *after)


class Keys:
    """Fresh step keys, one after the other."""

    def __init__(self) -> None:
        self._count = 0

    def next(self, kind: str) -> str:
        self._count += 1
        return f"{kind}{self._count}"


class Generator:
    """Draws programs. `kinds` are the kinds of operation that a program may have, each as often as it is to come."""

    def __init__(self, draw: random.Random, kinds: tuple[str, ...], *, depth: int = 2) -> None:
        self._draw, self._kinds, self._depth = draw, kinds, depth
        self._keys = Keys()

    def program(self, least: int, most: int, depth: int | None = None) -> Program:
        level = self._depth if depth is None else depth
        return tuple(self._op(level) for _ in range(self._draw.randint(least, most)))

    def _op(self, depth: int) -> Op:
        kind = self._draw.choice(self._kinds)
        if depth <= 0 and kind in ("gather", "first", "group", "try", "child", "batch", "spawn"):
            kind = "step"
        return getattr(self, f"_{kind}")(depth)

    def _key(self, kind: str) -> str:
        return self._keys.next(kind)

    # ---- single operations

    def _step(self, _: int) -> Op:
        draw = self._draw
        return Op(
            "step",
            self._key("s"),
            seconds=draw.choice((0.0, 0.0, 0.1, 3.0, 40.0)),
            fails=draw.choice((0, 0, 0, 1, 2, 9)),
            retries=draw.choice((0, 1, 2)),
            delay=draw.choice((0.1, 1.0, 6.0)),
            timeout=draw.choice((None, None, None, 2.0)),
            catch=draw.random() < 0.7,
        )

    def _plain(self, _: int) -> Op:
        return Op("step", self._key("s"), seconds=self._draw.choice((0.0, 0.1, 2.0)))

    def _long(self, _: int) -> Op:
        return Op("step", self._key("s"), seconds=self._draw.choice((12.0, 22.0, 47.0)))

    def _retrying(self, _: int) -> Op:
        draw = self._draw
        return Op(
            "step", self._key("s"), fails=draw.choice((1, 2, 3)), retries=draw.choice((1, 2, 3)),
            delay=draw.choice((1.0, 6.0, 0.2, 50.0)), seconds=draw.choice((0.0, 1.0)),
        )  # fmt: skip

    def _once(self, _: int) -> Op:
        draw = self._draw
        return Op(
            "step", self._key("s"), once=True, seconds=draw.choice((0.0, 0.5, 5.0)), fails=draw.choice((0, 0, 1)),
            retries=draw.choice((0, 1, 2)), delay=draw.choice((0.1, 3.0)),
        )  # fmt: skip

    def _big(self, _: int) -> Op:
        return Op("step", self._key("s"), big=True, seconds=self._draw.choice((0.0, 0.5)))

    def _inline(self, _: int) -> Op:
        return Op(self._draw.choice(("uuid", "now", "random", "patched")), self._key("n"))

    def _wait(self, _: int) -> Op:
        return Op("wait", self._key("w"), seconds=self._draw.choice((0.0, 0.5, 3.0, 8.0, 31.0, 70.0)))

    def _near(self, _: int) -> Op:
        """A timer that becomes due while another turn than the one that armed it is at work."""
        step = Op("step", self._key("s"), seconds=self._draw.choice((1.0, 2.0, 2.6, 2.9)))
        return Op(
            "gather", "", ((Op("wait", self._key("w"), seconds=8.0),), (Op("wait", self._key("w"), seconds=5.0), step))
        )

    def _resumed(self, _: int) -> Op:
        """Something short to wait for, then something long to do: what a stalled owner wakes up to."""
        wait = Op("wait", self._key("w"), seconds=self._draw.choice((0.5, 3.0, 8.0)))
        return Op("try", "", ((wait, Op("step", self._key("s"), seconds=self._draw.choice((22.0, 47.0)))),))

    def _asks(self, _: int) -> Op:
        """Several things to be told, at about the same time, and a step that keeps the turn going."""
        step = Op("step", self._key("s"), seconds=self._draw.choice((6.0, 12.0, 22.0)))
        asks = tuple((Op("suspend", self._key("u")),) for _ in range(self._draw.randint(2, 3)))
        return Op("gather", "", (*asks, (step,)))

    def _far(self, _: int) -> Op:
        return Op("wait", self._key("w"), seconds=self._draw.choice((1000.0, 1300.0, 5000.0)))

    def _ages(self, _: int) -> Op:
        """A timer of days: what was recorded before it would expire meanwhile."""
        return Op("wait", self._key("w"), seconds=86_400.0 * self._draw.choice((15, 40, 80, 130)))

    def _event(self, _: int) -> Op:
        draw = self._draw
        return Op(
            "event", self._key("e"), topic=draw.choice(TOPICS), event_type=draw.choice(TYPES),
            timeout=draw.choice((None, None, 4.0, 40.0)),
        )  # fmt: skip

    def _publish(self, _: int) -> Op:
        return Op("publish", self._key("p"), topic=self._draw.choice(TOPICS), event_type=self._draw.choice(TYPES))

    def _suspend(self, _: int) -> Op:
        return Op("suspend", self._key("u"), timeout=self._draw.choice((None, None, 6.0, 50.0)))

    def _boom(self, _: int) -> Op:
        return Op("boom", fails=self._draw.choice((1, 1, 2, 9)))

    # ---- those that hold others

    def _child(self, depth: int) -> Op:
        draw = self._draw
        options: list[tuple[str, Any]] = []
        if draw.random() < 0.25:
            options.append(("queue", draw.choice(("q1", "q2"))))
        if draw.random() < 0.15:
            options.append(("run_timeout_seconds", draw.choice((5.0, 60.0))))
        catch = draw.random() < 0.7
        return Op("child", self._key("c"), (self.program(0, 2, depth - 1),), options=tuple(options), catch=catch)

    def _spawn(self, depth: int) -> Op:
        return Op("spawn", self._key("c"), (self.program(0, 2, depth - 1),))

    def _batch(self, depth: int) -> Op:
        parts = tuple(self.program(0, 1, depth - 1) for _ in range(self._draw.randint(1, 4)))
        return Op("batch", self._key("b"), parts)

    def _branches(self, depth: int) -> tuple[Program, ...]:
        return tuple(self.program(1, 2, depth - 1) for _ in range(self._draw.randint(2, 3)))

    def _gather(self, depth: int) -> Op:
        return Op("gather", "", self._branches(depth))

    def _first(self, depth: int) -> Op:
        return Op("first", "", self._branches(depth))

    def _group(self, depth: int) -> Op:
        return Op("group", "", self._branches(depth))

    def _try(self, depth: int) -> Op:
        return Op("try", "", (self.program(1, 2, depth - 1), self.program(1, 1, depth - 1)))

    def _again(self, _: int) -> Op:
        return Op("again", "", fails=self._draw.choice((1, 2)))
