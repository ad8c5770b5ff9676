"""Beginning what the body newly asks for, and dropping what it has given up on.

Both are effects: they come after the order of what the body was handed is written (L8), and under a live lease (L13).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polos.core import items
from polos.core.failures import Failure
from polos.core.operations import (
    AwaitEvent,
    AwaitResume,
    Publish,
    ResumeOther,
    Run,
    Sleep,
    StartBatch,
    StartChild,
)
from polos.core.replay import Operation
from polos.engine import children, publishing
from polos.errors import BackendError, PolosError

if TYPE_CHECKING:
    from polos.engine.turn import Turn


class Beginnings:
    """The beginning of a turn's operations."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn

    def begin_fresh(self) -> bool:
        """Begin what the body newly asks for. Whatever it asks for may follow from the order of what it was handed."""
        turn = self._turn
        self.drop_abandoned()
        fresh = turn.replay.take_fresh()
        if not fresh:
            return False
        turn.flush()
        for position, operation in enumerate(fresh):
            if turn.pace.paused or (isinstance(operation.request, Run) and turn.pace.too_late()):
                turn.replay.fresh = fresh[position:]
                return False
            self._begin(operation)
        return True

    def _begin(self, operation: Operation) -> None:
        """Begin one operation; what makes it impossible is its outcome."""
        turn = self._turn
        turn.lease.check()
        try:
            self._begin_by_kind(operation)
        except BackendError:
            raise
        except (PolosError, ValueError, OverflowError) as error:
            turn.lease.check()
            failure = items.as_document(Failure.from_exception(error, 1).to_json())
            record = turn.engine.ledger.decide(
                items.record(turn.execution_id, operation.key),
                {**operation.about(turn.epoch), items.AT: turn.engine.now(), items.FAILURE: failure},
            )
            turn.adopt(operation, record)

    def _begin_by_kind(self, operation: Operation) -> None:
        turn = self._turn
        match operation.request:
            case Run():
                waits = turn.attempts.begun(operation.key) or turn.attempts.due(operation.key) is not None
                if not waits and turn.history.decided(operation.key) is None:
                    turn.attempts.start(operation)
            case Sleep() as request:
                known = operation.key in turn.history.records
                if not known and turn.waits.sleep_due(operation) is None:
                    turn.waits.begin_sleep(operation, request)
            case AwaitEvent() as request:
                turn.waits.begin_event(operation, request)
            case AwaitResume() as request:
                turn.waits.begin_suspend(operation, request)
            case StartChild() as request:
                children.begin(turn, operation, request)
            case StartBatch() as request:
                children.begin_batch(turn, operation, request)
            case Publish() as request:
                publishing.begin_publish(turn, operation, request)
            case ResumeOther() as request:
                publishing.begin_resume(turn, operation, request)

    def drop_abandoned(self) -> None:
        """The body has given up on these: stop what runs, and let no event wake the execution for them.

        That is an effect too: if the race were then decided the other way, nobody would wake the body for the wait.
        """
        turn = self._turn
        if any(turn.attempts.begun(one.key) or turn.waits.may_be_registered(one) for one in turn.replay.abandoned):
            turn.flush()
        for operation in turn.replay.abandoned:
            turn.attempts.cancel(operation.key)
            if isinstance(operation.request, AwaitEvent) and turn.waits.may_be_registered(operation):
                turn.waits.remove_waiter(operation, operation.request)
        turn.replay.abandoned = []
