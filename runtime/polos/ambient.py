"""The client that calls use when none is given. `polos.client` says how one is made; nothing here knows a backend."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from polos.errors import UsageError

if TYPE_CHECKING:
    from polos.handle import ExecutionHandle
    from polos.ports import Event, Recurring
    from polos.types.types import ExecutionDetail, StreamEvent
    from polos.workflow import Workflow


class Client(Protocol):
    """What workflows, handles, events and schedules need of a client. `polos.Polos` is one."""

    async def start_workflow(
        self, workflow: Workflow[Any, Any] | str, payload: Any, options: Mapping[str, Any]
    ) -> ExecutionHandle: ...

    async def wait_for_result(self, execution_id: str, timeout: float | None) -> Any: ...

    async def describe(self, execution_id: str) -> ExecutionDetail: ...

    async def get_execution(self, execution_id: str, *, typed: bool = False) -> dict[str, Any]: ...

    async def cancel_execution(self, execution_id: str) -> bool: ...

    async def publish_events(self, events: Sequence[Event]) -> None: ...

    async def encode_event(self, topic: str, data: Any, event_type: str | None, event_id: str | None) -> Event: ...

    async def apply_schedule(self, schedule: Recurring) -> None: ...

    async def list_schedules(self) -> list[Recurring]: ...

    async def remove_schedule(self, workflow_id: str, key: str) -> None: ...

    def stream_topic(
        self, topic: str, last_sequence_id: int | None = None, last_timestamp: datetime | None = None
    ) -> AsyncIterator[StreamEvent]: ...

    def stream_workflow(
        self,
        workflow_id: str,
        execution_id: str,
        last_sequence_id: int | None = None,
        last_timestamp: datetime | None = None,
    ) -> AsyncIterator[StreamEvent]: ...


_maker: Callable[[], Client] | None = None
_current: Client | None = None


def make_with(maker: Callable[[], Client]) -> None:
    """Say how the ambient client is made when the first call needs one."""
    global _maker
    _maker = maker


def use(client: Client | None) -> None:
    """Make this the ambient client; None: the next call makes one."""
    global _current
    _current = client


def current() -> Client | None:
    return _current


def client(given: Client | None = None) -> Client:
    """The given client, or the ambient one, which is made on first use. Raises `UsageError` for what is no client."""
    global _current
    if given is not None:
        if not is_client(given):
            raise UsageError(f"{given!r} is no client: pass a Polos, or nothing for the ambient one.")
        return given
    if _current is None:
        if _maker is None:
            raise UsageError("There is no client here: pass one, or import polos.")
        _current = _maker()
    return _current


def is_client(value: object) -> bool:
    return hasattr(value, "start_workflow") and hasattr(value, "wait_for_result")
