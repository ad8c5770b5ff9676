"""The queue of a run: messages that come again until they are handled, and those that it gives up.

As with Amazon SQS a message that is not deleted is handed out again, and one that was handed out too often goes to the
handler of dead letters (`engine.dead_letters`), which sends it anew, ends its execution, or keeps it for a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from polos.core.identity import message_tag
from polos.engine import dead_letters
from polos.engine.dead_letters import Again, Keep, Letter
from polos.engine.worker import Worker
from polos.ports import Message
from tests.chaos.sim.strands import Invocation
from tests.chaos.sim.world import log

if TYPE_CHECKING:
    from tests.chaos.sim.world import World

_MOST_RECEIVES: Final = 80
_VISIBILITY: Final = 30.0
_LONGEST: Final = 900.0


class Sent:
    """A message in the queue. `generation` counts changes of its visibility; `rounds` and `progress` are a letter's."""

    __slots__ = ("at", "body", "dead", "deleted", "generation", "id", "progress", "received", "rounds")

    def __init__(self, number: int, body: Mapping[str, Any], at: float, rounds: int = 0, progress: int = 0) -> None:
        self.id, self.body, self.at = f"m{number}", body, at
        self.rounds, self.progress = rounds, progress
        self.dead, self.deleted, self.generation, self.received = False, False, 0, 0


class Queue:
    """One queue, its dead letters, and what is kept of those. `receives`: after so many it gives a message up.

    Then a message that was handed out is not seen again before that invocation is over, unless it says so itself: as on
    AWS, where a queue hides a message for as long as the function may run. A copy is, and may be the receipt too many.
    `given_up` has the tags of messages that the handler of dead letters got.
    """

    def __init__(self, world: World, receives: int | None) -> None:
        self._world, self._receives = world, receives
        self._hidden = _VISIBILITY if receives is None else world.faults.limit or _LONGEST
        self._messages = 0
        self.kept: list[tuple[Mapping[str, Any], str]] = []
        self.given_up: set[str] = set()

    def enqueue(self, body: Mapping[str, Any], delay: float = 0.0, rounds: int = 0, progress: int = 0) -> None:
        """Put a message into the queue; it is handed out after `delay`, and what the network takes."""
        self._messages += 1
        message = Sent(self._messages, body, self._world.t, rounds, progress)
        wire = -self._world.faults.delay * log(self._world.random.random())
        self._world.at(delay + wire, self._deliver, message, 0, False)

    def send_kept(self) -> None:
        """What a person does with kept letters of ours (docs/operating.md): each body goes back into the queue."""
        kept, self.kept = self.kept, []
        for body, _ in kept:
            if self._world.trace is not None:
                self._world.trace.line(f"a person sends back {_short(body)}")
            self.enqueue(body)

    def _deliver(self, message: Sent, generation: int, copy: bool) -> None:
        world = self._world
        if message.deleted and not (copy and world.random.random() < 0.5):
            return
        if not copy and generation != message.generation:
            return
        message.received += 1
        if message.received > _MOST_RECEIVES:
            world.flag(f"L14: the message {message.body} was received {_MOST_RECEIVES} times")
            return
        if self._receives is not None and message.received > self._receives and not message.dead:
            message.dead = True
            self.given_up.add(message_tag(message.id))
            if world.trace is not None:
                world.trace.line(f"{message.id} is given up {_short(message.body)}")
        if world.faults.copy():
            world.at(world.random.random() * world.faults.copy_gap, self._deliver, message, 0, True)
        self._show_again(message, self._hidden)
        world.invocations += 1
        handle = self._judge if message.dead else self._handle
        invocation = world.start_invocation(f"i{world.invocations}", lambda: handle(invocation, message))
        if world.trace is not None:
            world.trace.line(f"{invocation.name} receives {message.id} {_short(message.body)}")

    def _handle(self, invocation: Invocation, message: Sent) -> None:
        world = self._world

        def extend(seconds: float) -> None:
            world.request("visibility", f"of {message.id}: {seconds:.1f} s", lambda: self._show_again(message, seconds))

        received = Message(message.id, message.body, message.received, extend)
        if Worker(invocation.engine).handle(received, invocation.remaining):
            world.request("acknowledge", message.id, lambda: self._delete(message))

    def _judge(self, invocation: Invocation, message: Sent) -> None:
        """What the handler of dead letters does with one."""
        world, body, invocation.letter = self._world, message.body, message
        verdict = dead_letters.judge(invocation.engine, Letter(body, True, message.rounds, message.progress))
        match verdict:
            case Again(rounds, progress, delay):
                world.request("send letter", f"round {rounds}", lambda: self.enqueue(body, delay, rounds, progress))
            case Keep(reason):
                world.request("keep letter", reason, lambda: self.kept.append((body, reason)))
            case _:
                pass
        world.request("acknowledge", message.id, lambda: self._delete(message))

    def _show_again(self, message: Sent, seconds: float) -> None:
        message.generation += 1
        self._world.at(max(0.01, seconds), self._deliver, message, message.generation, False)

    def _delete(self, message: Sent) -> None:
        message.deleted = True


def _short(body: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in body.items() if name not in ("so", "cr", "wf"))
