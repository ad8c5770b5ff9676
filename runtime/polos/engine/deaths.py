"""How many invocations of an execution in a row ended without saying so (L14). docs/design.md, "Deaths".

An invocation that meets an outage before it has read the records can't tell how far the execution has got. It says on
the execution which epoch it was (`UNREAD`, ranges of epochs); whoever reads the records next takes those that came
after the newest of them for no deaths.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from polos.core import items
from polos.core.conditions import Item
from polos.core.history import History
from polos.engine.ledger import Holder, Ledger

if TYPE_CHECKING:
    from polos.engine.turn import Turn

_RANGES: Final = 8
"""More than deaths in a row are allowed: between two ranges there is a death."""


def reached(item: Item, history: History) -> int:
    """The epoch of the newest sign of progress, raised by each invocation since that was no death without being any."""
    known = max(items.number(item, items.PROGRESS), history.newest_epoch)
    unread = items.numbers(item, items.UNREAD)
    ranges = zip(unread[::2], unread[1::2], strict=True)
    return known + sum(max(0, last - max(first - 1, known)) for first, last in ranges)


def with_unread(ranges: Sequence[int], epoch: int) -> list[int]:
    """The ranges, with one epoch more."""
    if ranges and ranges[-1] == epoch - 1:
        return [*ranges[:-1], epoch]
    return [*ranges, epoch, epoch][-2 * _RANGES :]


def hand_back_unread(ledger: Ledger, holder: Holder, item: Item) -> None:
    """Give the lease back without having read the records."""
    unread = with_unread(items.numbers(item, items.UNREAD), holder.epoch)
    ledger.hand_back(holder, items.number(item, items.PROGRESS), unread, 0, ran=False)


def hand_back(turn: Turn) -> None:
    """Give the lease back after an error of the backend, so that it is not taken for a death."""
    ledger, holder, item = turn.engine.ledger, turn.lease.holder, turn.execution
    progress = turn.progress
    if not turn.history.loaded and turn.epoch > 1 and progress < turn.epoch - 1:
        hand_back_unread(ledger, holder, item)
        return
    known = max(progress, turn.history.newest_epoch)
    after = min(turn.epoch, reached(item, turn.history) + 1)
    ledger.hand_back(holder, after, [], after - known, ran=turn.replay.body is not None)
