"""Deliberate bugs of the protocol, which the simulator must catch: each takes one rule away. Nothing else knows them.

A mutant replaces named functions of the engine while it is in force. `shapes` are the workloads in which its bug can
show at all: the hunt draws from those.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from dataclasses import dataclass
from typing import Final

from polos.engine import (
    batching,
    children,
    controls,
    dead_letters,
    delivery,
    duties,
    interventions,
    ledger,
    native,
    resting,
    retention,
    schedules,
    successors,
)
from polos.engine.heritage import Heritage
from polos.engine.ledger import Ledger
from polos.engine.pace import Pace
from polos.engine.resting import Resting
from polos.engine.slots import Slots
from polos.engine.steps import Attempts
from polos.engine.turn import Turn
from polos.engine.vault import Vault
from polos.engine.waits import Waits
from polos.engine.worker import Worker
from tests.chaos.sim import bugs, table
from tests.chaos.sim import bugs_of_holds as holds
from tests.chaos.sim import bugs_of_keeping as keeping
from tests.chaos.sim.messages import Queue
from tests.chaos.sim.ports import SimInbox
from tests.chaos.sim.reordering import (
    Patch,
    deliver_reading_first,
    duties_later,
    handle_then_duties,
    hold,
    sending_last,
    stash_later,
    tell_parent_first,
)


@dataclass(frozen=True)
class Mutant:
    """One bug. `patches` are (where, name, what instead)."""

    name: str
    what: str
    shapes: tuple[str, ...]
    patches: tuple[Patch, ...]

    @contextlib.contextmanager
    def in_force(self) -> Generator[None]:
        before = [(where, name, getattr(where, name)) for where, name, _ in self.patches]
        for where, name, instead in self.patches:
            setattr(where, name, instead)
        try:
            yield
        finally:
            for where, name, original in before:
                setattr(where, name, original)


_RECORDS = ("steps", "retries", "race", "group", "events", "once", "mixed")
_WAKES = ("timers", "events", "suspend", "children", "retries", "batch")
_QUEUES = ("slots", "queued children")

MUTANTS: Final = (
    Mutant("unconditional put", "a record is put whatever is there", _RECORDS,
           ((Ledger, "_put_or_adopt", bugs.put_whatever),)),
    Mutant("refusal is success", "the loser of a put goes on with its own value", _RECORDS,
           ((Ledger, "_put_or_adopt", bugs.take_refusal_for_success),)),
    Mutant("check, then register", "a wait reads its topic, then puts its waiter", ("events", "exchange"),
           ((Waits, "begin_event", bugs.look_then_register),)),
    Mutant("deliver reads first", "an event's waiters are read before it is put", ("events", "exchange"),
           ((delivery, "deliver", deliver_reading_first),)),
    Mutant("wake mark ignored", "a suspension does not look at the wake count", _WAKES,
           ((Ledger, "suspend", bugs.suspend_whatever_came),)),
    Mutant("mark without a look", "a mark lands although nobody owns the execution any more", _WAKES,
           ((Ledger, "mark", bugs.mark_whoever_owns),)),
    Mutant("timer not re-armed", "a timer is put on record, then its wake is sent", ("timers", "events", "suspend"),
           sending_last(Waits._arm)),
    Mutant("next attempt not re-armed", "a retry is put on record, then its wake is sent", ("retries",),
           sending_last(Attempts._failed)),
    Mutant("child not started again", "a child is put on record, then its start is sent", ("children",),
           sending_last(children.begin)),
    Mutant("near wake not waited for", "a timer that is nearly due is slept through", ("near",),
           ((Pace, "must_stay", lambda self, due: False),)),
    Mutant("parent told first", "a child wakes its parent, then records how it ended", ("children",),
           ((children, "tell_parent", tell_parent_first), (SimInbox, "send", hold))),
    Mutant("message deleted first", "an end's message is deleted before its duties are done",
           ("children", "batch", "slots"),
           ((duties, "perform", duties_later), (Queue, "_handle", handle_then_duties))),
    Mutant("fan-in only if new", "who finds itself in the set does not wake the parent", ("batch",),
           ((children, "_enter", bugs.enter_if_new),)),
    Mutant("lease stolen early", "a lease is taken 20 s before it ends", ("steps", "once", "timers"),
           ((Ledger, "claim", bugs.claim_with(20_000, spent=True)),)),
    Mutant("no spent tags", "a message may take the lease again after it did its work", (*_WAKES, "mixed"),
           ((Ledger, "claim", bugs.claim_with(0, spent=False)),)),
    Mutant("copy taken for a wake", "a copy of the owner's own message marks, and is deleted", ("steps", "timers"),
           ((Worker, "_not_claimed", bugs.take_copy_for_wake),)),
    Mutant("finish without lease", "an end is written by whoever was the owner", ("steps", "children", "slots"),
           ((Ledger, "finish", bugs.finish_without_lease),)),
    Mutant("order not kept", "the order of a race is never written", ("race", "group"),
           ((Turn, "flush", bugs.flush_nothing),)),
    Mutant("cancel at two places", "where a cancel struck is not written", ("cancel", "limit"),
           ((Turn, "_strike", bugs.strike_unwritten),)),
    Mutant("cancel over completed", "a terminate is written over an end", ("terminate", "mixed"),
           ((Ledger, "terminate", bugs.terminate_what_has_ended),)),
    Mutant("event taken twice", "a wait does not look at what earlier waits took", ("events", "exchange"),
           ((Heritage, "taken", lambda self, topic: set()),)),
    Mutant("cancel of any run", "a late cancel strikes what was retried since", ("recalls",),
           ((ledger, "_open_in", keeping.open_in_any), (interventions, "_retried_since", keeping.is_never_retried))),
    Mutant("resume for the next", "a second copy of a resume answers what the next link of a chain asks", ("links",),
           ((successors, "pass_on_late", keeping.pass_on_whatever),)),
    Mutant("slot released twice", "a slot is given back whether it is held or not", _QUEUES,
           ((Slots, "release", bugs.release_twice),)),
    Mutant("slot of the heir released", "a slot is given back whatever epoch holds it", ("heirs",),
           ((Slots, "release", bugs.release_whoever_holds),)),
    Mutant("slot before suspend", "a slot is given back before the suspension is written", _QUEUES,
           ((Resting, "give_back", bugs.give_back_slot_first),)),
    Mutant("holders not looked at", "who finds a queue full does not look whether its holders run", _QUEUES,
           ((Slots, "_evict", lambda self, lease, held: False),)),
    Mutant("trigger id from time", "the execution of an event is named after the time", ("triggers",),
           ((delivery, "triggered_id", bugs.id_of_now),)),
    Mutant("tick id from time", "the execution of a tick is named after the time", ("ticks",),
           ((schedules, "tick_id", bugs.id_of_now),)),
    Mutant("batch composed twice", "a batch is composed although another one is", ("triggers",),
           ((batching._Collector, "_compose", bugs.compose_again),)),
    Mutant("retries in memory", "the number of attempts is not read from the record", ("retries", "steps"),
           ((Attempts, "start", bugs.start_counting_anew),)),
    Mutant("once without a mark", "an at-most-once attempt does not look who began it", ("once",),
           ((Attempts, "_first_to_begin", lambda self, operation, request, number: True),)),
    Mutant("payload after its record", "a stored payload is written after the record that points to it", ("payloads",),
           ((Vault, "stash", stash_later),)),
    Mutant("limit not armed", "the wake for a run's time limit is not sent", ("limit",),
           ((Resting, "give_back", bugs.give_back_no_limit),)),
    Mutant("steps near the limit", "a step begins however little time is left", ("steps", "retries"),
           ((Pace, "too_late", lambda self: False),)),
    Mutant("woken before unpaused", "those in line are woken, then the pause is removed", ("holds",),
           ((controls, "unpause", holds.only_send_release), (controls, "release", holds.wake_then_remove))),
    Mutant("hold not looked at", "a process goes on whatever is paused", ("holds",),
           ((controls.Controls, "hold_of", lambda self, execution: None),)),
    Mutant("place after the look", "who is held looks whether it still is, then takes its place in line", ("unhold",),
           ((resting, "stand_in_line", holds.read_then_stand_in_line),)),
    Mutant("unpaused before sent", "a pause is removed, then its line is asked to be woken", ("unhold",),
           ((controls, "unpause", holds.remove_then_send),)),
    Mutant("pause heard at the heartbeat", "a turn under way does not ask what is paused", ("long holds",),
           ((controls.Controls, "may_begin", holds.known_alone),)),
    Mutant("one page of a line", "of those in line as many are woken as one query returns", ("unhold",),
           ((controls, "release", keeping.wake_one_page),)),
    Mutant("item between two pages", "a query goes on behind the first item of the next page", _RECORDS,
           ((table, "_behind", keeping.behind_the_next),)),
    Mutant("wake count after the records", "who reads again takes the wake count after the records", ("marks",),
           ((Turn, "read_again", keeping.read_records_first),)),
    Mutant("letter ends what is owned", "a dead letter ends an execution whatever lease is on it", ("letters",),
           ((Ledger, "give_up", keeping.give_up_what_is_owned),)),
    Mutant("letter ends what has moved", "a dead letter does not look whether its execution got on", ("letters",),
           ((dead_letters, "_progress", lambda item: 0),)),
    Mutant("letter tells nobody", "a dead letter ends an execution and wakes nobody for its duties", ("letters",),
           ((dead_letters, "_tell", keeping.tell_nobody),)),
    Mutant("open execution not renewed", "the sweep notes that records are kept, and leaves them alone", ("expiry",),
           ((retention, "renew", keeping.note_as_renewed),)),
    Mutant("noted before renewed", "the sweep notes that records are kept before they are", ("expiry",),
           ((retention, "renew", keeping.note_then_renew),)),
    Mutant("native id from time", "the execution of a native event is named after the time", ("native",),
           ((native, "native_id", bugs.id_of_now),)),
)  # fmt: skip
