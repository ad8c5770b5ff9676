"""Following an execution or a topic from outside: wait for an end, and tell what happens until then.

Looks again and again, less and less often; in the process that runs the execution, its end is told at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Any

from polos.connection import Connection
from polos.core.identity import check_topic
from polos.engine import queries, streams, topic_streams
from polos.engine.commands import aware
from polos.errors import InvalidPayloadError, WorkflowTimeoutError
from polos.types.types import StreamEvent

_FIRST_LOOK, _SLOWEST_LOOK = 0.02, 1.0
_SEQUENCES = 1 << 63


def _is_span(timeout: object) -> bool:
    return isinstance(timeout, int | float) and not isinstance(timeout, bool) and timeout >= 0


async def result(connection: Connection, execution_id: str, timeout: float | None) -> Any:
    """The result of an execution once it has ended, or its error raised; `Polos.wait_for_result` tells the rest."""
    if timeout is not None and not _is_span(timeout):
        raise InvalidPayloadError(f"timeout must be a number of seconds from 0, not {timeout!r}.")
    loop = asyncio.get_running_loop()
    deadline = None if timeout is None else loop.time() + timeout
    pause, changed = _FIRST_LOOK, asyncio.Event()
    engine = await connection.call(connection.open)

    def tell() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(changed.set)

    with engine.told_of_end(execution_id, tell):
        while True:
            item = await connection.run(queries.ended, execution_id)
            if item is not None:
                return await connection.run(queries.outcome, item)
            left = None if deadline is None else deadline - loop.time()
            if left is not None and left <= 0:
                raise WorkflowTimeoutError(execution_id, timeout)
            try:
                await asyncio.wait_for(changed.wait(), pause if left is None else min(pause, left))
                changed.clear()
            except TimeoutError:
                pause = min(pause * 1.5, _SLOWEST_LOOK)


def _place(last_sequence_id: Any, last_timestamp: Any) -> tuple[int | None, datetime | None]:
    """Where a stream begins, a naive time taken for UTC. Raises `InvalidPayloadError`."""
    if last_sequence_id is not None:
        whole = isinstance(last_sequence_id, int) and not isinstance(last_sequence_id, bool)
        if not whole or abs(last_sequence_id) >= _SEQUENCES:
            raise InvalidPayloadError(
                f"last_sequence_id must be the sequence_id of an event, a whole number, not {last_sequence_id!r:.100}."
            )
    if last_timestamp is None:
        return last_sequence_id, None
    if not isinstance(last_timestamp, datetime):
        raise InvalidPayloadError(f"last_timestamp must be a datetime, not {last_timestamp!r:.100}.")
    return last_sequence_id, aware(last_timestamp)


async def topic(
    connection: Connection, name: str, last_sequence_id: int | None, last_timestamp: datetime | None
) -> AsyncGenerator[StreamEvent]:
    """The events of a topic, without end."""
    name, place = check_topic(name), _place(last_sequence_id, last_timestamp)
    engine = await connection.call(connection.open)
    follower = topic_streams.TopicFollower(engine, name, *place)
    while True:
        for event in await connection.call(follower.look):
            yield event
        await asyncio.sleep(streams.LOOK_EVERY)


async def execution(
    connection: Connection, execution_id: str, last_sequence_id: int | None, last_timestamp: datetime | None
) -> AsyncGenerator[StreamEvent]:
    """What happens in an execution, until it ends."""
    place = _place(last_sequence_id, last_timestamp)
    engine = await connection.call(connection.open)
    follower = streams.Follower(engine, execution_id, *place)
    while True:
        found, ended = await connection.call(follower.look)
        for event in found:
            yield event
        if ended:
            return
        await asyncio.sleep(streams.LOOK_EVERY)
