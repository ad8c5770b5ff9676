"""Listing executions by time, newest first, from the index: 8 shards a month. Eventually consistent.

A listing without times looks back to the oldest execution: what is open never expires. One that runs out of executions
has looked at every month. It notes before which month there was nothing, and the next one stops there: a month that
lies 29 days back can't get executions any more. They are put into the month of their start, and no start waits longer
than its message is kept (14 days) and is sent anew as a dead letter (two weeks).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from polos.core import codec, items
from polos.core.conditions import AnyOf, Change, Has, Item, Less, Not
from polos.core.identity import is_workflow_id
from polos.engine import commands
from polos.engine.commands import aware, moment
from polos.engine.engine import Engine
from polos.engine.queries import summary
from polos.errors import BackendError, InvalidPayloadError
from polos.ports import ConditionFailed
from polos.types.types import ExecutionSummary

_log = logging.getLogger("polos.engine")

STATUSES: Final = ("queued", "running", "waiting", "completed", "failed", "cancelled", "timed_out")
_LOOK_BACK: Final = timedelta(days=400)
_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST: Final = datetime(2025, 1, 1, tzinfo=UTC)
"""There was no polos-aws before."""
_MOST: Final = 1_000_000
_EMPTY_MONTHS: Final = 120
_CURSOR: Final = re.compile(r"[0-9]{15}#[!-~]{1,255}")
_LATEST_START: Final = timedelta(days=29)

_Wanted = Callable[[ExecutionSummary], bool]


def find(
    engine: Engine,
    *,
    workflow_id: str | None = None,
    status: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 50,
    tags: Mapping[str, str] | None = None,
    cursor: str | None = None,
) -> tuple[list[ExecutionSummary], str | None]:
    """Executions, newest first, and a cursor for more (None: there is no more).

    8 index queries a month looked at, and 1 read per 100 executions. Without `since` and `until` it looks back to 2025,
    but not beyond the oldest execution once a listing has got there, for 1 read and at times 1 update. With `until`
    alone it looks back 400 days from there; with `since` it ends after ten years without an execution. A naive time is
    UTC. Raises `InvalidPayloadError`.
    """
    _check(workflow_id, status, limit, cursor, since, until, tags)

    def wanted(line: ExecutionSummary) -> bool:
        if status is not None and line.status != status:
            return False
        return not tags or all(line.tags.get(name) == value for name, value in tags.items())

    newest = engine.clock.now() + timedelta(days=1)  # nothing is started later than now, whatever is asked for
    if until is not None:
        newest = min(newest, max(aware(until), _EARLIEST))
    whole = since is None and until is None
    oldest = _FIRST if whole else max(aware(since) if since is not None else newest - _LOOK_BACK, _EARLIEST)
    stop = min(f"{commands.millis(newest):015d}~", cursor or "~")
    scan = _Scan(engine, workflow_id, wanted, limit, oldest, stop)
    return scan.run(whole=whole)


class _Scan:
    """One listing: from month to month, back to `oldest`, below the sort key `stop`."""

    def __init__(
        self, engine: Engine, workflow_id: str | None, wanted: _Wanted, limit: int, oldest: datetime, stop: str
    ) -> None:
        self._engine, self._workflow_id, self._wanted, self._limit = engine, workflow_id, wanted, limit
        self._oldest, self._start, self._stop = oldest, f"{commands.millis(oldest):015d}", stop
        self._found: list[ExecutionSummary] = []

    def run(self, *, whole: bool) -> tuple[list[ExecutionSummary], str | None]:
        """`whole`: the caller has named no times, so what is known of the first month holds, and may be noted."""
        month = _first_of_month(moment(int(self._stop[:15])))
        lowest, known = month, None  # what lies above `stop` is not looked at, so this month counts as not empty
        empties = 0
        while month >= self._oldest - timedelta(days=31) and empties < _EMPTY_MONTHS:
            cursor, empty = self._look_at(month)
            if cursor is not None:
                return self._found, cursor
            empties = empties + 1 if empty else 0
            if not empty:
                lowest = month
            if whole and known is None:
                known = _text_of_first(self._engine)
            month = _first_of_month(month - timedelta(days=1))
            if known is not None and f"{month:%Y-%m}" < known:
                break
        if whole:
            self._note(min(lowest, _first_of_month(self._engine.clock.now() - _LATEST_START)), known or "")
        return self._found, None

    def _look_at(self, month: datetime) -> tuple[str | None, bool]:
        """Take what a month has: a cursor if the page is full, and whether it was empty."""
        empty = True
        while True:
            entries = [
                entry
                for shard in range(items.SHARDS)
                for entry in self._engine.table.by_start(
                    commands.bucket(commands.millis(month), shard),
                    since=self._start,
                    until=self._stop,
                    limit=self._limit + 1,
                )
            ]
            entries.sort(key=lambda entry: items.text(entry, items.BUCKET_SORT), reverse=True)
            empty = empty and not entries
            page = entries[: self._limit + 1]
            for line, sort in self._summaries(page):
                if self._wanted(line):
                    self._found.append(line)
                if len(self._found) == self._limit:
                    return sort, empty
            if len(entries) <= self._limit:
                return None, empty
            self._stop = items.text(page[-1], items.BUCKET_SORT)

    def _summaries(self, entries: list[Item]) -> Iterator[tuple[ExecutionSummary, str]]:
        wanted = [one for one in entries if self._workflow_id in (None, one.get(items.WORKFLOW))]
        keys = [items.execution(items.text(entry, items.PK)) for entry in wanted]
        full = {items.text(one, items.PK): one for one in self._engine.table.get_many(keys)}
        for entry in wanted:
            item = full.get(items.text(entry, items.PK))
            if item is not None and items.WORKFLOW in item:
                yield summary(item), items.text(entry, items.BUCKET_SORT)

    def _note(self, first: datetime, known: str) -> None:
        """Note before which month there is nothing, where that is news. 1 update."""
        text = f"{first:%Y-%m}"
        if text <= known:
            return
        older = AnyOf(Not(Has(items.FIRST_MONTH)), Less(items.FIRST_MONTH, text))
        try:
            self._engine.table.update(items.LISTING, Change(set={items.FIRST_MONTH: text}), older)
        except ConditionFailed:
            return
        except BackendError as error:  # who may only read can list; it only saves requests
            _log.info("the first month with executions could not be noted: %s", error)


def beginning(now: datetime) -> Item:
    """What a table says that is made at this moment: there is nothing to list from before."""
    return items.keyed(items.LISTING, {items.FIRST_MONTH: f"{_first_of_month(now - _LATEST_START):%Y-%m}"})


def _check(workflow_id: Any, status: Any, limit: Any, cursor: Any, since: Any, until: Any, tags: Any) -> None:
    if workflow_id is not None and not (isinstance(workflow_id, str) and is_workflow_id(workflow_id)):
        raise InvalidPayloadError(f"workflow_id must be the id of a workflow, not {workflow_id!r}.")
    if status is not None and status not in STATUSES:
        raise InvalidPayloadError(f"There is no status {status!r}; use one of {', '.join(STATUSES)}.")
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= _MOST:
        shown = limit if not isinstance(limit, int) or abs(limit) < 1 << 63 else "one that large"
        raise InvalidPayloadError(f"limit must be a whole number from 1 to {_MOST:,}, not {shown!r}.")
    if cursor is not None and not (isinstance(cursor, str) and _CURSOR.fullmatch(cursor)):
        raise InvalidPayloadError(f"The cursor {ascii(cursor)[:60]} is none that a listing gave.")
    for name, when in (("since", since), ("until", until)):
        if when is not None and not isinstance(when, datetime):
            raise InvalidPayloadError(f"{name} must be a datetime, not {when!r}.")
    if tags is not None:
        codec.validate(tags, dict[str, str], what="tags")


def _text_of_first(engine: Engine) -> str:
    return items.text(engine.table.get(items.LISTING) or {}, items.FIRST_MONTH)


def _first_of_month(when: datetime) -> datetime:
    return when.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
