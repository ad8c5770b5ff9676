"""Which fault strikes at which request. Most of a run's faults strike at one kind of request: that finds races.

Each fault that was drawn has a number. A run in which some numbers are skipped is otherwise drawn from the same
numbers: that is how a failing run is shrunk.
"""

from __future__ import annotations

import random
from collections.abc import Collection

CRASH_BEFORE = "dies before it"
CRASH_AFTER = "dies after it"
STALL_BEFORE = "stalls before it arrives"
STALL_AFTER = "stalls after it"
LOST_REPLY = "loses the reply"
LOST_REQUEST = "loses the request"
THROTTLED = "is throttled"
LINGERS = "waits long for it"
LATE_COPY = "sends it twice, once late"

KINDS = (
    CRASH_BEFORE, CRASH_AFTER, STALL_BEFORE, STALL_AFTER, LOST_REPLY, LOST_REQUEST, THROTTLED, LINGERS, LATE_COPY,
)  # fmt: skip
STOPS = frozenset({CRASH_BEFORE, CRASH_AFTER, STALL_BEFORE, STALL_AFTER})
_HOT_KINDS = (*KINDS, CRASH_BEFORE, CRASH_AFTER, STALL_BEFORE, STALL_AFTER, STALL_BEFORE, LINGERS, LINGERS)

HOT = (
    "claim", "renew", "mark", "suspend", "finish", "strike", "note cancel", "terminate", "retry", "pause", "hand back",
    "load", "read x", "put record", "put armed", "put retrying", "put mark", "put order", "put waiter", "put resume",
    "put child", "put batch outcome", "put event", "delete waiter", "look", "waiters", "fan in", "take slot",
    "give slot", "put place", "delete place", "line", "read slots", "read holders", "send wake", "send start",
    "send cancel", "send resume", "send batch", "send timer", "publish", "put beside", "put payload", "get payload",
    "visibility", "acknowledge", "drop", "collector", "gathered", "schedule", "put start",
)  # fmt: skip


class Faults:
    """The faults of one run. `focus` names kinds of requests that its workload makes and that should be struck.

    `strikes`, where there are some, are requests and what strikes each of them, half of the time; and many more faults.
    """

    def __init__(
        self,
        seed: int,
        *,
        on: bool,
        focus: tuple[str, ...],
        skip: Collection[int],
        strikes: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self._random = draw = random.Random(seed)
        self._skip = frozenset(skip)
        self.on, self._strikes = on, dict(strikes)
        self.struck: list[int] = []
        self.drawn = 0
        self.chance = draw.choice((0.0, 0.01, 0.03, 0.06))
        self.copies = draw.choice((0.0, 0.05, 0.3))
        self.copy_gap = draw.choice((0.02, 0.5, 20.0))
        self.budget = draw.randint(1, 7)
        self.skew = draw.choice((0.0, 0.4, 0.4, 2.4))
        self.latency = draw.choice((0.01, 0.05, 0.5))
        self.delay = draw.choice((0.05, 0.05, 1.0, 15.0))
        self.limit = draw.choice((None, None, 900.0, 60.0, 25.0))
        self.page = draw.choice((None, None, None, None, None, 2, 4))  # how many items a page of a query holds
        self.shared = draw.random() < 0.3  # all invocations are in one process
        self.apart = draw.random() < 0.5  # but its clients are not
        self.hot = draw.choice(focus or HOT) if draw.random() < 0.7 else draw.choice(HOT)
        self.hot_kind = draw.choice(_HOT_KINDS)
        self.hot_chance = draw.choice((0.15, 0.5, 1.0))
        if strikes:
            self.budget = 20
        if not on:
            self.chance = self.copies = self.skew = self.hot_chance = 0.0
            self.latency, self.delay, self.limit, self.page = 0.01, 0.05, 900.0, None

    def stop(self) -> None:
        """From here on nothing goes wrong any more."""
        self.on = False
        self.chance = self.copies = self.hot_chance = 0.0
        self.delay = 0.05
        self.latency = 0.01
        self.limit = None

    def draw(self, name: str) -> str | None:
        """The fault that strikes at this request, if any."""
        if not self.on or self.drawn >= self.budget:
            return None
        draw = self._random
        if name in self._strikes and draw.random() < 0.5:
            kind = self._strikes[name]
        elif name == self.hot and draw.random() < self.hot_chance:
            kind = self.hot_kind
        elif draw.random() < self.chance:
            kind = draw.choice(KINDS)
        else:
            return None
        return kind if self._takes() else None

    def copy(self) -> bool:
        """Whether a message is handed out twice."""
        if not self.copies or self.drawn >= self.budget + 8 or self._random.random() >= self.copies:
            return False
        return self._takes()

    def _takes(self) -> bool:
        self.drawn += 1
        if self.drawn in self._skip:
            return False
        self.struck.append(self.drawn)
        return True
