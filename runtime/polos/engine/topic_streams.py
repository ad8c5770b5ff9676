"""The stream of a topic: its events as they arrive, each id once.

An event may arrive after ones that were published later: another publisher's was slower, or was delivered again. One
that is late by up to a minute is shown when it comes, after the newer ones.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from polos.core import items
from polos.core.conditions import Item
from polos.engine.commands import millis
from polos.engine.delivery import payload_of
from polos.engine.engine import Engine
from polos.types.types import StreamEvent

_LATE: Final = 60_000 << 20
_LOOK_BACK_EVERY: Final = 10


def kept(engine: Engine, topic: str, after: int) -> list[Item]:
    """The retained events of a topic after a sequence number, in order; an id that was published again is there twice.

    1 query per MB.
    """
    return engine.table.query(items.topic(topic), prefix="e#", after=items.event_sk(max(0, after + 1), ""))


class TopicFollower:
    """Follows one topic: after a sequence number, from a time on, or from now on. `look` returns what is new."""

    def __init__(
        self, engine: Engine, topic: str, last_sequence_id: int | None, last_timestamp: datetime | None
    ) -> None:
        self._engine, self._topic = engine, topic
        began = (millis(last_timestamp or engine.clock.now()) << 20) - 1  # what is of that millisecond is shown
        self._from = began if last_sequence_id is None else 0
        self._after = self._from if last_sequence_id is None else last_sequence_id
        self._cursor = min(self._after, self._now())  # a publisher's clock may be ahead: what others publish is older
        self.known: dict[str, int] = {}
        self._looks = 0

    def look(self) -> list[StreamEvent]:
        """1 query; every tenth look reads the last minute once more, for what came late."""
        first, wide = self._looks == 0, self._looks % _LOOK_BACK_EVERY == 0
        self._looks += 1
        fresh: list[Item] = []
        for item in kept(self._engine, self._topic, self._cursor - (_LATE if wide else 0)):
            identity, sequence = items.text(item, items.EVENT_ID), items.number(item, items.SEQUENCE)
            passed = sequence <= (self._after if first else self._from)
            if identity not in self.known and not passed:
                fresh.append(item)
            self.known[identity] = max(sequence, self.known.get(identity, 0))
        newest = max(self.known.values(), default=0)
        self._cursor = max(self._cursor, min(newest, self._now()))
        self.known = {one: sequence for one, sequence in self.known.items() if sequence > self._cursor - _LATE}
        return [StreamEvent(**dict(payload_of(self._engine, self._topic, item))) for item in fresh]

    def _now(self) -> int:
        return self._engine.now() << 20
