"""What must hold once the faults have stopped and everything that was due has been delivered."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from polos.core import items
from polos.core.conditions import Item
from polos.core.identity import native_id, triggered_id
from polos.ports import Event
from tests.chaos.sim import client
from tests.chaos.sim.interpreter import BATCH_TOPIC, TRIGGER_TOPIC, digest
from tests.chaos.sim.programs import Act, Plan, Root

if TYPE_CHECKING:
    from tests.chaos.sim.table import SimTable
    from tests.chaos.sim.world import World

_ROUNDS = 40


class Ending:
    """The end of one run."""

    def __init__(self, world: World, plan: Plan, table: SimTable) -> None:
        self._world, self._plan, self._table = world, plan, table

    def check(self) -> None:
        """Let the run come to rest, give every wait what it waits for until all have ended, and look at the result."""
        world = self._world
        world.faults.stop()
        world.run()
        self._unpause()
        self._send_kept()
        for _ in range(_ROUNDS):
            if world.violations:
                return
            acts = [act for x in self._open() for act in self._helps(x)]
            if not acts:
                break
            for act in acts:
                client.send(world, act)
            self._table.expiry.begin(self._table)
            world.run()
        if world.violations:
            return
        for x in self._open():
            self._flag(f"{x[items.PK]} is open and nothing will wake it: {_state(x)}")
        self._sweep()
        self._probe()
        if not world.violations:
            self._settled()

    def _flag(self, what: str) -> None:
        self._world.flag(what)

    def _executions(self) -> list[Item]:
        found = [partition["x"] for partition in self._table.partitions.values() if "x" in partition]
        return [x for x in found if items.WORKFLOW in x]

    def _open(self) -> list[Item]:
        return [x for x in self._executions() if items.ENDED not in x]

    # ---- at rest

    def _unpause(self) -> None:
        """Let everything go that a pause of a queue or a workflow holds."""
        world, holds = self._world, self._world.observer.written.holds
        paused = list(holds.all())
        for x in self._open() if paused else ():
            holds.at_rest(x)
        for hold in paused:
            client.send(world, Act("unhold", 0.0, hold.attribute))
        if not world.violations:
            world.run()
            holds.let_go()

    def _send_kept(self) -> None:
        """Have a person send back the letters that only a person can judge: what they were about may wait for that."""
        world = self._world
        if world.violations or not world.queue.kept:
            return
        world.queue.send_kept()
        world.run()
        for _, reason in world.queue.kept:
            self._flag(f"a letter that was sent back is kept again: {reason}")

    def _left_by_given_up(self, x: Item) -> bool:
        """Whether the lease is that of an owner whose message was given up, by a copy, before it came to claim.

        It took an execution that the letter had brought on; whatever wakes that takes the dead lease away.
        """
        return items.text(x, items.LEASE_MESSAGE) in self._world.queue.given_up

    def _helps(self, x: Item) -> list[Act]:
        """What brings an execution on that rightly sleeps. Flags one that should not sleep."""
        execution_id = items.text(x, items.PK)
        if items.PAUSED in x:
            return [Act("unpause", 0.0, execution_id)]
        if items.LEASE_TOKEN in x and not self._left_by_given_up(x):
            self._flag(f"{execution_id} is at rest under a lease: {_state(x)}")
            return []
        if items.CANCEL in x and items.CANCEL_AT not in x:
            self._flag(f"{execution_id} was cancelled and sleeps: {_state(x)}")
            return []
        options = items.document(x, items.START)
        since = items.number(x, items.LIMIT_FROM, items.number(x, items.CREATED))
        late = "timeout" in options and since + 1000 * options["timeout"] < self._world.now_ms - 5000
        if late and items.CANCEL_AT not in x:
            self._flag(f"the time limit of {execution_id} is over and it sleeps: {_state(x)}")
        acts: list[Act] = []
        partition = self._table.partitions[execution_id]
        for kind, key, *rest in json.loads(items.text(x, items.WAITING_FOR, "[]")):
            if kind == "event":
                acts.append(Act("publish", 0.0, topic=rest[0], event_type=self._type_of(key)))
                self._missed(x, key, rest[0])
            elif kind == "suspend":
                acts.append(Act("resume", 0.0, execution_id, step=key))
                if f"u#{key}" in partition:
                    self._flag(f"L9: {execution_id} sleeps although {key} was resumed")
            elif kind == "timer":
                self._flag(f"the timer {key} of {execution_id} is lost: {_state(x)}")
            elif kind == "step":
                self._flag(f"the next attempt of {key} of {execution_id} is lost: {_state(x)}")
            elif kind == "child":
                self._child_open(x, key)
        return acts

    def _type_of(self, key: str) -> str | None:
        op = self._world.observer.library.ops.get(key)
        return None if op is None else op.event_type

    def _missed(self, x: Item, key: str, topic: str) -> None:
        """L9: no event is there for a wait that sleeps."""
        options = items.document(x, items.START)
        if "ev" in options or not isinstance(options.get("sq"), int):
            return
        after = items.event_sk(max(0, options["sq"] - (1000 << 20)), "")
        records = self._table.partitions[items.text(x, items.PK)]
        taken = {one[items.EVENT_ID] for sk, one in records.items() if sk[:2] == "r#" and items.EVENT_ID in one}
        wanted, due = self._type_of(key), items.number(records.get(f"r#{key}", {}), items.DUE, 1 << 60)
        for event in self._table.first_after(items.topic(topic), after):
            if not items.text(event, items.SK).startswith("e#"):
                break
            fits = wanted is None or event.get(items.EVENT_TYPE) == wanted
            if fits and event[items.EVENT_ID] not in taken and items.number(event, items.SEQUENCE) >> 20 <= due:
                self._flag(f"L9: {x[items.PK]} sleeps at {key} although the event {event[items.EVENT_ID]} is there")
                return

    def _child_open(self, x: Item, key: str) -> None:
        mark = self._table.peek(items.text(x, items.PK), f"s#{key}") or {}
        child = self._follow(items.text(mark, items.CHILD))
        if child is None or items.ENDED in child:
            self._flag(f"{x[items.PK]} waits for the child {key}, which is {_state(child or {})}")

    def _follow(self, execution_id: str) -> Item | None:
        """The execution with which one goes on that continued as new."""
        x = self._table.peek(execution_id, items.EXECUTION)
        while x is not None and items.NEXT in x:
            x = self._table.peek(items.text(x, items.NEXT), items.EXECUTION)
        return x

    # ---- all have ended

    def _sweep(self) -> None:
        """Send what removes the places of those that died in line, or at a wait: an event to each topic."""
        for topic in [pk[2:] for pk in self._table.partitions if pk.startswith("t#")]:
            if any(sk.startswith("w#") for sk in self._table.partitions[f"t#{topic}"]):
                for kind in (None, "a", "b"):
                    client.send(self._world, Act("publish", 0.0, topic=topic, event_type=kind))
        self._world.run()

    def _probe(self) -> None:
        """A slot that a zombie took late is taken from it by who needs it: so whoever comes now gets through."""
        for pk, partition in list(self._table.partitions.items()):
            held = items.number(partition.get("slots", {}), items.LIMIT_COUNT) or any(
                sk[:2] == "w#" for sk in partition
            )
            if pk[:2] == "q#" and held and not self._world.violations:
                _, queue, _ = pk.split("#")
                for number in range(2):
                    root = Root(f"probe-{queue}-{number}", "sim-main", (), 0.0, (("queue", queue),))
                    client.send(self._world, root)
                self._world.run()
                for number in range(2):
                    x = self._table.peek(f"probe-{queue}-{number}", items.EXECUTION) or {}
                    if items.ENDED not in x:
                        self._flag(f"the slots of {pk} are lost: {partition['slots']}")

    def _settled(self) -> None:
        for pk, partition in self._table.partitions.items():
            for sk, item in partition.items():
                if pk[:2] in ("t#", "q#") and sk.startswith("w#"):
                    self._flag(f"the place {sk} in {pk} is left behind")
                elif pk[:2] == "g#" and sk.startswith("e#") and not self._taken(pk, sk):
                    self._flag(f"the events of {pk} wait for ever: {sk}")
                elif sk[:2] in ("r#", "b#") and items.CHILD in item | {items.CHILD: ""}:
                    self._told(pk, sk, item)
        for x in self._executions():
            self._result(x)
            self._cancelled(x)
        self._triggers()
        self._ticks()

    def _taken(self, pk: str, sk: str) -> bool:
        """Whether an event is in a batch already: a marker that came late goes with the next batch."""
        kept = self._table.peek(*items.gathered(pk[2:], items.event_id_in(sk)))
        return kept is not None and items.BATCH in kept

    def _told(self, parent_id: str, sk: str, item: Item) -> None:
        """What a parent has of its child is how the child ended."""
        if sk[:2] == "b#":
            key, index = sk[2:].rsplit("#", 1)
            generation = items.number(item, items.GENERATION)
            child_id = _child_id(parent_id, key, generation, int(index))
        elif item.get(items.KIND) == "child" and items.CHILD in item and item.get(items.STATE) == items.DECIDED:
            child_id = items.text(item, items.CHILD)
        else:
            return
        child = self._follow(child_id)
        if child is None:
            return
        told = item.get(items.VALUE)
        if items.FAILURE in item:
            status = items.document(item, items.FAILURE).get("fields", {}).get("status")
            if child[items.STATUS] == "completed":
                self._flag(f"{parent_id} was told that {child_id} has {status}, and it has completed")
        elif child[items.STATUS] != "completed" or child.get(items.RESULT) != told:
            self._flag(f"{parent_id} was told {told} by {child_id}, which is {_state(child)}")

    def _result(self, x: Item) -> None:
        """The result of an execution is made from the order that was bound (L8)."""
        if items.text(x, items.STATUS) != "completed" or items.RESULT not in x:
            return
        place = self._world.observer.place_of(items.text(x, items.PK))
        bound = self._world.observer.committed.get(place, [])
        said = json.loads(items.text(x, items.RESULT))
        if all(digest(bound[:length]) != said[1] for length in range(len(bound), -1, -1)):  # cleanup may come after it
            self._flag(f"L8: the result of {place[0]} is {said}, not that of {bound}")

    def _cancelled(self, x: Item) -> None:
        """L12: what was cancelled after a retry, somebody has cancelled since. A skipped tick is none of that."""
        place = items.text(x, items.PK), items.number(x, items.GENERATION)
        alone = not {"parent", "chain", "trigger"} & items.document(x, items.START).keys()
        if items.text(x, items.STATUS) == "cancelled" and alone and place not in self._world.observer.cancelled:
            self._flag(f"L12: {place[0]} is cancelled in generation {place[1]}, in which nobody has cancelled it")

    def _triggers(self) -> None:
        """L10: each event on a trigger's topic has started one execution."""
        for event in self._world.observer.published.values():
            if event.topic in (TRIGGER_TOPIC, BATCH_TOPIC) and self._world.observer.written.arrived(event.id):
                found = self._world.observer.by_trigger.get(event.id, set())
                if len(found) != 1 and not self._crashed(event):
                    self._flag(f"L10: the event {event.id} on {event.topic} started {sorted(found)}")

        for name in self._world.observer.native:
            found = self._world.observer.by_trigger.get(name, set())
            if len(found) != 1 and not self._crashed_native(*name.split()):
                self._flag(f"L10: the native event {name} started {sorted(found)}")

    def _crashed_native(self, workflow_id: str, event_id: str) -> bool:
        x = self._table.peek(native_id(workflow_id, event_id), items.EXECUTION) or {}
        return items.document(x, items.FAILURE).get("type") == "CrashLoopError"

    def _crashed(self, event: Event) -> bool:
        """Whether what it started failed before its body ran, its invocations having died."""
        x = self._table.peek(triggered_id("sim-triggered", event.id), items.EXECUTION) or {}
        return items.document(x, items.FAILURE).get("type") == "CrashLoopError"

    def _ticks(self) -> None:
        """L10: one execution, or one record of a skip, for each nominal time."""
        places: dict[tuple[str, int], list[str]] = {}
        for x in self._executions():
            trigger = items.document(x, items.START).get("trigger") or {}
            if "schedule" in trigger:
                places.setdefault((items.text(x, items.WORKFLOW), trigger["at"]), []).append(items.text(x, items.PK))
        for place, found in places.items():
            if len(found) > 1:
                self._flag(f"L10: the tick {place} started {found}")


def _child_id(parent_id: str, key: str, generation: int, index: int) -> str:
    from polos.core.identity import child_id

    return child_id(parent_id, key, generation, index)


def _state(x: Item) -> str:
    shown = {name: value for name, value in x.items() if name not in (items.START, items.BUCKET, items.BUCKET_SORT)}
    return str(shown)
