"""What a second process does in `test_processes`: run as a script, with the database and an act.

It prints one line when it has done its part, and goes on living until its input ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from polos import WorkflowContext, workflow
from polos.core import items
from polos.core.conditions import Absent, AnyOf, Change, Less
from polos.core.identity import message_tag
from polos.engine.commands import millis
from polos.local.backend import LocalBackend, local_backend
from polos.ports import ConditionFailed, Outgoing


def start(execution_id: str) -> Outgoing:
    return Outgoing({"t": "start", "x": execution_id, "wf": "flow"}, lane="start")


def wake(execution_id: str) -> Outgoing:
    return Outgoing({"t": "wake", "x": execution_id, "wf": "flow"})


def take_lease(local: LocalBackend, execution_id: str, message_id: str, seconds: float = 3600) -> bool:
    """Claim an execution as the engine does: nobody holds a live lease."""
    now = millis(local.backend.clock.now())
    change = Change(
        set={
            items.LEASE_TOKEN: local.presence.name,
            items.LEASE_MESSAGE: message_tag(message_id),
            items.LEASE_UNTIL: now + int(seconds * 1000),
        },
        add={items.EPOCH: 1},
    )
    try:
        local.table.update(items.execution(execution_id), change, AnyOf(Absent(), Less(items.LEASE_UNTIL, now)))
    except ConditionFailed:
        return False
    return True


def claim(local: LocalBackend, count: int) -> list[str]:
    """Try to take the lease of each execution; those that were taken."""
    return [name for n in range(count) if take_lease(local, name := f"e{n}", str(n))]


def receive(local: LocalBackend, count: int) -> list[str]:
    """Receive and delete until nothing is left; what was received."""
    found: list[str] = []
    while (got := local.inbox.receive(["flow"])) is not None:
        found.append(got.message.body["x"])
        local.inbox.delete(got.row)
    return found


def hold(local: LocalBackend, count: int) -> list[str]:
    """Receive the messages, take the leases that go with them, and keep both."""
    held: list[str] = []
    for _ in range(count):
        got = local.inbox.receive(["flow"])
        assert got is not None
        local.inbox.extend(got.row, 3600)
        assert take_lease(local, got.message.body["x"], got.message.id)
        held.append(got.message.body["x"])
    return held


def home(local: LocalBackend, count: int) -> list[str]:
    """Start executions of its own, and handle nothing."""
    names = [f"theirs{n}" for n in range(count)]
    local.inbox.send([start(name) for name in names])
    local.inbox.send([wake(f"{names[0]}/child")])
    return names


ACTS = {"claim": claim, "receive": receive, "hold": hold, "home": home}


@workflow(id="flow")
async def flow(ctx: WorkflowContext, n: int) -> list[Any]:
    pids = [await ctx.step.run(f"pid {step}", os.getpid) for step in range(3)]
    await ctx.step.wait_for("pause", seconds=0.2)
    return [n, *pids, await ctx.step.run("last", os.getpid)]


async def run(count: int) -> list[Any]:
    """Run executions with the ambient client, which takes only what this process has started."""
    return await asyncio.gather(*(flow.invoke(n) for n in range(count)))


def main() -> None:
    database, act, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if act == "run":
        os.environ["POLOS_LOCAL_DB"] = database
        said: dict[str, Any] = {"found": asyncio.run(run(count)), "pid": os.getpid()}
    else:
        local = local_backend(database)
        sys.stdin.readline()  # all begin together
        said = {"found": ACTS[act](local, count), "name": local.presence.name}
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
