"""The client of an environment: it waits for an end as every client does, and sees to it that the end comes."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Final, Protocol

from polos.client import Polos
from polos.engine.engine import Engine

_PATIENCE: Final = 0.5
"""Seconds of real time in which the test drives nothing, before who waits for a result does."""


class Driven(Protocol):
    """What an environment is for its client. `drives` counts the begins and ends of what the test asks for."""

    @property
    def drives(self) -> int: ...

    async def bring_on(self, execution_id: str, limit: timedelta | None) -> None:
        """Towards the end of an execution, by no more than `limit` of virtual time (None: any)."""
        ...


class DrivingClient(Polos):
    """A client that drives its environment while it waits, where nobody else does."""

    def __init__(self, engine: Engine, environment: Driven) -> None:
        super().__init__(engine=engine)
        self._environment = environment

    async def wait_for_result(self, execution_id: str, timeout: float | None = None) -> Any:
        """As `Polos.wait_for_result`. What is due now is delivered; time moves only if the test does not move it."""
        waiting = asyncio.ensure_future(super().wait_for_result(execution_id, timeout))
        limit = timedelta(0)
        try:
            while True:
                await self._environment.bring_on(execution_id, limit)
                drives = -1
                while drives != self._environment.drives:
                    drives = self._environment.drives
                    ended, _ = await asyncio.wait([waiting], timeout=_PATIENCE)
                    if ended:
                        return await waiting
                limit = None if timeout is None else timedelta(seconds=timeout)
        finally:
            waiting.cancel()
