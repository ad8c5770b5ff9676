"""What a run is about: each shape has the operations, executions and acts that bring one part of the protocol out."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos.sim import faults
from tests.chaos.sim.interpreter import BATCH_TOPIC, TRIGGER_TOPIC
from tests.chaos.sim.programs import TOPICS, TYPES, Act, Generator, Op, Plan, Root

_OWNERSHIP = ("claim", "renew", "mark", "suspend", "finish", "load", "acknowledge", "visibility", "send wake")


@dataclass(frozen=True)
class Shape:
    """`kinds`: which operations; `roots`, `ops`: how many executions, and operations each, from and to; `at`: when."""

    kinds: tuple[str, ...]
    focus: tuple[str, ...]
    roots: tuple[int, int] = (1, 2)
    ops: tuple[int, int] = (1, 3)
    acts: tuple[str, ...] = ()
    options: Callable[[random.Random], tuple[tuple[str, object], ...]] = lambda _: ()
    at: tuple[float, ...] = (0.0, 0.0, 0.5, 5.0)
    receives: tuple[int | None, ...] = (None,)
    horizon: float | None = None
    strikes: tuple[tuple[str, str], ...] = ()


def _queued(draw: random.Random) -> tuple[tuple[str, object], ...]:
    return (("queue", draw.choice(("q1", "q1", "q2"))),)


def _sometimes_queued(draw: random.Random) -> tuple[tuple[str, object], ...]:
    return _queued(draw) if draw.random() < 0.5 else ()


def _limited(draw: random.Random) -> tuple[tuple[str, object], ...]:
    return (("run_timeout_seconds", draw.choice((3.0, 8.0, 45.0, 200.0))),)


SHAPES: dict[str, Shape] = {
    "steps": Shape(("step", "plain", "long", "big", "inline"), (*_OWNERSHIP, "put record", "put retrying")),
    "retries": Shape(("retrying", "retrying", "step", "wait"), ("put retrying", "put record", "send wake", "claim")),
    "once": Shape(("once", "once", "plain"), ("put mark", "put record", "claim", "put retrying", "load"), ops=(1, 2)),
    "timers": Shape(("wait", "wait", "plain", "far"), ("send wake", "send timer", "put armed", "suspend", "mark")),
    "near": Shape(
        ("near",), ("send wake", "claim", "mark", "suspend", "put armed"), roots=(1, 1), ops=(1, 1)
    ),
    "heirs": Shape(
        ("resumed",), ("give slot", "give slot", "take slot", "delete place", "put place", "suspend"), roots=(2, 3),
        ops=(1, 1), options=_queued,
    ),
    "events": Shape(
        ("event", "event", "plain", "wait"), ("put waiter", "look", "waiters", "put event", "delete waiter", "suspend",
        "mark", "send wake", "put record"), ops=(1, 3), acts=("publish", "publish", "publish", "publish"),
    ),
    "exchange": Shape(
        ("event", "publish", "publish", "plain"), ("publish", "put record", "put waiter", "look", "waiters"),
        roots=(2, 3), ops=(1, 3), acts=("publish",),
    ),
    "race": Shape(
        ("first", "first", "gather", "wait", "event", "plain"), ("put order", "put record", "claim", "suspend", "look",
        "delete waiter", "put waiter"), roots=(1, 1), ops=(1, 2), acts=("publish", "publish"),
    ),
    "group": Shape(
        ("group", "gather", "try", "step", "wait"), ("put order", "put record", "put retrying", "claim"), roots=(1, 1),
        ops=(1, 2),
    ),
    "children": Shape(
        ("child", "child", "batch", "plain"), ("send start", "put mark", "put child", "send wake", "finish", "suspend",
        "mark", "claim", "fan in", "put batch outcome"), roots=(1, 1), ops=(1, 2),
    ),
    "batch": Shape(
        ("batch", "batch", "plain", "wait"), ("fan in", "put batch outcome", "send wake", "send start", "put mark",
        "suspend", "finish"), roots=(1, 1), ops=(1, 2),
    ),
    "slots": Shape(
        ("plain", "wait", "long", "plain"), ("take slot", "give slot", "put place", "delete place", "line", "suspend",
        "read slots", "read holders", "finish", "claim", "send wake"), roots=(2, 4), ops=(0, 2), options=_queued,
    ),
    "queued children": Shape(
        ("child", "batch", "plain"), ("take slot", "give slot", "put place", "suspend", "line", "send start"),
        roots=(1, 3), ops=(1, 2), options=_queued, acts=("cancel",),
    ),
    "cancel": Shape(
        ("try", "try", "wait", "event", "child", "step"), ("note cancel", "strike", "send cancel", "claim", "suspend",
        "finish", "put record", "put start"), roots=(1, 2), ops=(1, 2), acts=("cancel", "cancel"),
    ),
    "terminate": Shape(
        ("child", "wait", "event", "plain", "spawn"), ("terminate", "send cancel", "claim", "finish", "send start"),
        roots=(1, 1), ops=(1, 2), acts=("terminate", "cancel"),
    ),
    "suspend": Shape(
        ("suspend", "suspend", "first", "plain"), ("put resume", "send resume", "put record", "put mark", "suspend",
        "load", "mark"), roots=(1, 2), ops=(1, 2), acts=("resume", "resume", "resume"),
    ),
    "marks": Shape(
        ("asks",), ("read x", "read x", "load", "put resume", "mark", "suspend"), roots=(1, 1), ops=(1, 1),
        acts=("resume soon", "resume soon", "resume soon", "resume soon"),
    ),
    "generations": Shape(
        ("step", "child", "boom", "wait", "batch", "gather", "suspend"), ("retry", "drop", "load", "put child",
        "put record", "claim", "finish", "suspend"), roots=(1, 1), ops=(1, 3), acts=("retry", "retry", "retry"),
    ),
    "recalls": Shape(
        ("boom", "plain", "wait"), ("claim", "cancel", "terminate", "finish", "acknowledge", "send cancel"),
        roots=(1, 1), ops=(2, 3), acts=("cancel", "terminate", "cancel", "retry", "retry", "retry"),
    ),
    "pause": Shape(
        ("plain", "wait", "long", "event"), ("pause", "suspend", "claim", "mark"), acts=("pause", "unpause", "publish"),
        roots=(1, 1),
    ),
    "holds": Shape(
        ("plain", "wait", "long", "event", "child", "suspend", "retrying", "try"), ("put held", "read paused",
        "leave line", "held", "hold", "unhold", "send release", "send wake", "suspend", "claim"), roots=(1, 3),
        ops=(1, 2), options=_sometimes_queued, acts=("hold", "unhold", "hold", "unhold", "hold", "unhold", "publish",
        "resume", "cancel", "trigger"),
    ),
    "unhold": Shape(
        ("plain", "wait"), ("put held", "put held", "read paused", "unhold", "send release", "held", "leave line"),
        roots=(1, 3), ops=(1, 1), acts=("hold first", "unhold soon", "unhold soon", "hold", "unhold"),
    ),
    "long holds": Shape(
        ("plain", "plain", "long"), ("read paused", "hold", "renew"), roots=(2, 3), ops=(2, 2), at=(0.0, 9.0, 13.0),
        acts=("hold soon", "hold soon"),
    ),
    "limit": Shape(
        ("wait", "event", "try", "child", "long"), ("strike", "suspend", "send wake", "send timer", "claim", "finish"),
        options=_limited, ops=(1, 2), acts=("cancel",),
    ),
    "whole": Shape(
        ("boom", "plain", "wait", "gather", "event"), ("suspend", "send wake", "claim", "put order", "put record"),
        roots=(1, 1), ops=(2, 4), acts=("publish",),
    ),
    "chain": Shape(
        ("again", "event", "plain", "wait"), ("put beside", "finish", "send start", "read x", "claim"), roots=(1, 1),
        ops=(1, 3), acts=("publish", "publish", "cancel"),
    ),
    "links": Shape(
        ("again", "event", "plain", "wait", "suspend"), ("put beside", "finish", "send start", "read x", "claim",
        "put resume", "pause"), roots=(1, 1), ops=(1, 3),
        acts=("publish", "publish", "cancel", "pause", "unpause", "resume", "resume soon", "resume"),
    ),
    "fork": Shape(
        ("plain", "batch", "gather", "wait", "big"), ("put start", "put record", "claim", "send start", "load"),
        roots=(1, 1), ops=(2, 3), acts=("fork",),
    ),
    "triggers": Shape(
        ("plain",), ("put event", "waiters", "send start", "collector", "gathered", "send batch", "acknowledge"),
        roots=(0, 0), acts=("trigger", "trigger", "trigger", "batch", "batch", "batch", "batch"),
    ),
    "ticks": Shape(
        ("plain",), ("send start", "schedule", "read item", "read x", "acknowledge"), roots=(0, 0),
        acts=("tick", "tick", "tick"),
    ),
    "native": Shape(
        ("plain",), ("send start", "gathered", "collector", "send batch", "acknowledge"), roots=(0, 0),
        acts=("native", "native", "native", "native", "native"),
    ),
    "letters": Shape(
        ("plain", "wait", "child", "retrying", "suspend"), ("load", "load", "claim", "visibility", "put record",
        "claim", "read x", "send letter"), roots=(1, 2), ops=(1, 2), receives=(1, 1, 2),
        acts=("cancel", "resume", "retry", "tick"), options=_sometimes_queued,
    ),
    "expiry": Shape(
        ("ages", "plain", "big", "child", "suspend", "gather"), ("renew item", "renew item", "renew payload", "sweep",
        "keep", "put record", "suspend"), roots=(1, 2), ops=(2, 4), horizon=74 * 86_400.0,
    ),
    "throttled": Shape(
        ("plain",), ("load",), roots=(1, 1), ops=(6, 8),
        strikes=(("put record", faults.CRASH_AFTER), ("load", faults.THROTTLED)),
    ),
    "payloads": Shape(
        ("big", "big", "child", "gather"), ("put payload", "get payload", "put record", "put beside", "finish"),
        roots=(1, 1),
    ),
    "mixed": Shape(
        ("step", "plain", "wait", "event", "publish", "suspend", "child", "batch", "gather", "first", "group", "try",
        "boom", "once", "big", "inline", "spawn"), (), roots=(1, 3), ops=(1, 3),
        acts=("publish", "cancel", "resume", "retry", "pause", "terminate", "hold", "unhold"),
    ),
}  # fmt: skip


def plan_of(draw: random.Random, name: str | None = None) -> Plan:
    """The workload of a run, drawn."""
    chosen = name or draw.choice(tuple(SHAPES))
    shape = SHAPES[chosen]
    generator = Generator(draw, shape.kinds)
    roots: list[Root] = []
    for number in range(draw.randint(*shape.roots)):
        options = shape.options(draw)
        if chosen == "mixed" and draw.random() < 0.3:
            options = _queued(draw)
        program = generator.program(*shape.ops)
        roots.append(Root(f"x{number}", "sim-main", program, draw.choice(shape.at), options))
    side: tuple[tuple[str, tuple[Op, ...]], ...] = ()
    if not roots:
        small = Generator(draw, ("plain", "wait"))
        side = tuple((name, small.program(0, 1)) for name in ("triggered", "batched", "ticked", "native", "natives"))
    acts = [_act(draw, kind, roots) for kind in shape.acts if draw.random() < 0.75]
    given = tuple(act for act in acts if act is not None)
    return Plan(
        chosen, tuple(roots), given, shape.focus, side, draw.choice(shape.receives), shape.horizon, shape.strikes
    )


def _act(draw: random.Random, kind: str, roots: list[Root]) -> Act | None:
    at = draw.choice((0.0, 0.3, 1.0, 4.0, 9.0, 35.0, 80.0)) * (0.5 + draw.random())
    target = draw.choice(roots) if roots else None
    match kind:
        case "publish":
            return Act(kind, at, topic=draw.choice(TOPICS), event_type=draw.choice(TYPES))
        case "trigger" | "batch":
            return Act("publish", at, topic=TRIGGER_TOPIC if kind == "trigger" else BATCH_TOPIC)
        case "resume soon":
            keys = [key for key in _keys(target) if key.startswith("u")] if target else []
            near = draw.choice((3.0, 12.1)) + 0.6 * draw.random()
            return Act("resume", near, target.id, step=draw.choice(keys)) if target and keys else None
        case "native":
            copies = tuple(draw.choice((0.0, 20.0, 70.0)) for _ in range(draw.randint(0, 2)))
            return Act(kind, at, target=draw.choice(("sim-native", "sim-natives", "")), copies=copies)
        case "tick":
            copies = tuple(draw.choice((0.0, 20.0, 70.0)) for _ in range(draw.randint(0, 2)))
            at = draw.choice((60.0, 60.0, 120.0, 180.0)) + draw.choice((0.0, 0.5, 30.0))
            return Act(kind, at, target=draw.choice(("sim-ticked", "sim-skipping")), copies=copies)
        case "hold" | "unhold":
            copies = draw.choice(((), (), (0.0,), (0.05,), (20.0,)))
            return Act(kind, at, _to_hold(draw, target), copies=copies)
        case "hold first" | "hold soon" | "unhold soon":
            soon = 0.0 if kind == "hold first" else draw.choice((0.5, 1.0, 4.0)) * (0.5 + draw.random())
            return Act(kind.split()[0], soon, "workflow:sim-main")
        case "resume" | "fork":
            wanted = [key for key in _keys(target) if kind == "fork" or key.startswith("u")] if target else []
            return Act(kind, at, target.id, step=draw.choice(wanted)) if target and wanted else None
        case _:
            return Act(kind, at if kind != "retry" else at * 2, target.id) if target else None


def _to_hold(draw: random.Random, target: Root | None) -> str:
    """What holds an execution, or what events start: its workflow, or its queue."""
    queue = dict(target.options).get("queue", "sim-main") if target else "sim-main"
    return draw.choice(("workflow:sim-main", "workflow:sim-main", f"queue:{queue}", "workflow:sim-triggered"))


def _keys(root: Root) -> list[str]:
    """The keys of a program's own operations, those inside branches included."""
    found: list[str] = []
    left = list(root.program)
    while left:
        op = left.pop(0)
        if op.key:
            found.append(op.key)
        if op.kind in ("gather", "first", "group", "try"):
            left += [inner for part in op.parts for inner in part]
    return found
