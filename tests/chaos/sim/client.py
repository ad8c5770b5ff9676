"""What clients do in a run: they start executions and act on them from outside, and may die while they do."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from polos.engine import commands, controls, forking, recovery, starting
from polos.engine.engine import Engine
from polos.errors import ExecutionNotFoundError, ExecutionStateError, InvalidPayloadError
from polos.ports import Outgoing, Recurring
from tests.chaos.sim.interpreter import NATIVES, QUEUES, WORKFLOWS
from tests.chaos.sim.programs import Act, Plan, Root
from tests.chaos.sim.world import START, World


def begin(world: World, plan: Plan) -> None:
    """Have everything happen that the plan wants from outside, each at its time."""
    for root in plan.roots:
        world.at(root.at, send, world, root)
    for act in plan.acts:
        world.at(act.at, happen if act.kind == "native" else send, world, act)
        if act.kind in ("hold", "unhold"):
            for gap in act.copies:
                world.at(act.at + gap, send, world, act)


def send(world: World, what: Root | Act) -> None:
    """Have one act carried out, by a client of its own."""
    name = f"client {what.id}" if isinstance(what, Root) else f"client {what.kind}"
    invocation = world.start_invocation(name, lambda: act(invocation.engine, world, what), limit=False)


def happen(world: World, what: Act) -> None:
    """An event on the account's default bus, which hands it over as often as it likes."""
    at = (START + timedelta(seconds=what.at)).isoformat()
    event = {"id": f"n{what.at}", "source": "shop", "detail-type": "Sold", "time": at, "detail": {"at": what.at}}
    for delay in (0.0, *what.copies):
        world.queue.enqueue({"t": "native", "event": event} | ({"wf": what.target} if what.target else {}), delay)
    for name in (what.target,) if what.target else NATIVES:
        world.observer.native.add(f"{name} {event['id']}")


def act(engine: Engine, world: World, what: Root | Act) -> None:
    """Carry out one act. One that is refused, because it came too late or too early, changes nothing."""
    if isinstance(what, Root):
        options: dict[str, Any] = dict(what.options)
        if "queue" in options:
            options["queue"] = QUEUES[options["queue"]]
        starting.start(engine, WORKFLOWS[what.workflow], {"p": what.id}, {"id": what.id, **options})
        return
    try:
        _act(engine, world, what)
    except (ExecutionNotFoundError, ExecutionStateError, InvalidPayloadError):
        return


def _act(engine: Engine, world: World, what: Act) -> None:
    match what.kind:
        case "cancel" | "terminate":
            with world.observer.cancelling(what.target):
                starting.cancel(engine, what.target, what.kind)
        case "retry":
            recovery.retry(engine, what.target)
        case "pause":
            recovery.pause(engine, what.target)
        case "unpause":
            recovery.unpause(engine, what.target)
        case "hold":
            controls.pause(engine, *what.target.split(":"))
        case "unhold":
            controls.unpause(engine, *what.target.split(":"))
        case "resume":
            said = f"resumed at {what.at} as number {world.observer.next_resume()}"
            starting.resume(engine, what.target, what.step, said)
        case "fork":
            forking.fork(engine, what.target, what.step, None, {}, False)
        case "publish":
            event = starting.make_event(engine, what.topic, {"at": what.at}, what.event_type)
            engine.backend.topics.publish([event])
        case "tick":
            tick = Recurring(what.target, "global", "* * * * *", "UTC")
            nominal = commands.millis(START + timedelta(minutes=int(what.at // 60)))
            body = commands.tick(tick, nominal)
            engine.backend.inbox.send([Outgoing(body), *(Outgoing(body, delay) for delay in what.copies)])
        case other:
            raise AssertionError(f"no client does {other!r}")
