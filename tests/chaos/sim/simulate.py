"""One run of the simulator, from a seed: a workload, its faults, the laws, the end."""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass, field

from polos.clock import drawn_from
from polos.engine.engine import Engine
from tests.chaos.sim import client
from tests.chaos.sim.ending import Ending
from tests.chaos.sim.faults import Faults
from tests.chaos.sim.interpreter import WORKFLOWS, registered
from tests.chaos.sim.messages import Queue
from tests.chaos.sim.observer import Observer
from tests.chaos.sim.ports import make_backend
from tests.chaos.sim.programs import Plan
from tests.chaos.sim.scale import in_small
from tests.chaos.sim.shapes import plan_of
from tests.chaos.sim.strands import SimCallables, SimThreads
from tests.chaos.sim.trace import Trace
from tests.chaos.sim.world import World


@dataclass
class Outcome:
    """What a run came to. `struck` are the numbers of the faults that happened."""

    seed: int
    plan: Plan
    violations: list[str]
    struck: list[int]
    requests: int
    invocations: int
    events: int
    virtual_seconds: float
    lines: list[str] = field(default_factory=list)

    @property
    def law(self) -> str:
        """The first law that was broken, without the particulars."""
        return self.violations[0].split(":")[0][:40] if self.violations else ""


def simulate(
    seed: int,
    *,
    faults: bool = True,
    shape: str | None = None,
    plan: Plan | None = None,
    skip: Collection[int] = (),
    trace: bool = False,
    invocation_seconds: float | None = None,
) -> Outcome:
    """Run one seed. The same arguments give the same run, to the last request."""
    drawn = plan if plan is not None else plan_of(random.Random(seed), shape)
    strikes = Faults(seed, on=faults, focus=drawn.focus, skip=skip, strikes=drawn.strikes)
    if invocation_seconds is not None:
        strikes.limit = invocation_seconds
    shown = Trace() if trace else None
    world = World(seed, strikes, shown)
    if shown is not None:
        shown.of(world)
    backend, table, payloads = make_backend(world, drawn.horizon)
    world.queue = Queue(world, drawn.receives)
    world.observer = Observer(world, drawn, table, payloads)
    callables, threads = SimCallables(world), SimThreads(world)

    def make_engine() -> Engine:
        return Engine(backend, callables=callables, threads=threads, workflows=lambda: WORKFLOWS)

    shared = make_engine()
    world.make_engine = (lambda: shared) if strikes.shared else make_engine
    world.make_client = make_engine if strikes.apart else world.make_engine
    entropy = random.Random(seed ^ 0x5EED)
    with registered(), in_small(), drawn_from(entropy):
        client.begin(world, drawn)
        table.expiry.begin(table)
        world.run()
        Ending(world, drawn, table).check()
        for invocation in list(world.alive):
            world.kill(invocation)
    return Outcome(
        seed, drawn, world.violations, strikes.struck, world.requests, world.invocations,
        world.events, world.t,
        shown.lines if shown is not None else [],
    )  # fmt: skip
