"""Putting the embedded backend together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from polos.clock import SystemClock
from polos.engine.listing import beginning
from polos.limits import Limits
from polos.local.database import Database
from polos.local.default_bus import LocalDefaultBus
from polos.local.inbox import LocalInbox, LocalPayloads
from polos.local.presence import Presence
from polos.local.recurrences import LocalRecurrences
from polos.local.table import LocalTable
from polos.payloads import codec_named
from polos.ports import Backend, Clock

# The processes of one machine have one clock: no event seems older than a start that came before it.
_LIMITS: Final = replace(Limits(), inline_bytes=1_000_000, controls=1.0, event_skew=0.0)


@dataclass(frozen=True)
class LocalBackend:
    """The ports, and what the worker of this process needs beyond them."""

    backend: Backend
    database: Database
    table: LocalTable
    inbox: LocalInbox
    recurrences: LocalRecurrences
    presence: Presence

    def close(self) -> None:
        self.presence.close()
        self.database.close()


def local_backend(path: str | Path, *, clock: Clock | None = None, limits: Limits | None = None) -> LocalBackend:
    """Open, or create, a database. Raises `BackendError`."""
    chosen = clock or SystemClock()
    database = Database(path)
    presence = Presence(database.path)
    table = LocalTable(database)
    if database.is_new:
        table.put(beginning(chosen.now()))
    inbox = LocalInbox(database, chosen, presence)
    recurrences = LocalRecurrences(database, inbox, chosen)
    backend = Backend(
        table=table,
        inbox=inbox,
        timers=inbox,
        topics=inbox,
        payloads=LocalPayloads(database, chosen),
        recurrences=recurrences,
        default_bus=LocalDefaultBus(database, inbox, chosen),
        clock=chosen,
        limits=limits or _LIMITS,
        codec=codec_named(),
    )
    return LocalBackend(backend, database, table, inbox, recurrences, presence)
