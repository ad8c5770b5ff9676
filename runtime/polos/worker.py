"""`Worker`: a process that runs workflows, as the upstream SDK starts one beside its clients."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from polos.client import Polos
from polos.errors import UsageError
from polos.workflow import Workflow

_WITHOUT_MEANING = frozenset({"deployment_id", "mode", "worker_server_url", "port"})
_NOT_OFFERED = frozenset({"agents", "tools", "channels"})


class Worker:
    """Runs the registered workflows on the client's backend from `run` to `shutdown` (or Ctrl-C).

    `workflows` is what the program says that it runs: naming them imports them, and every imported workflow is run.
    `max_concurrent_workflows` limits the turns that run at once. On AWS the functions of the stack do this work, and
    `run` only waits. Upstream's `deployment_id`, `mode`, `port` and `worker_server_url` are taken and mean nothing.
    """

    def __init__(
        self,
        client: Polos | None = None,
        *,
        workflows: Sequence[Workflow[Any, Any]] = (),
        max_concurrent_workflows: int | None = None,
        **upstream: Any,
    ) -> None:
        unknown = sorted(set(upstream) - _WITHOUT_MEANING - _NOT_OFFERED)
        if unknown:
            raise TypeError(f"Worker() got unknown options: {', '.join(unknown)}")
        for name in sorted(_NOT_OFFERED):
            if upstream.get(name):
                raise UsageError(f"polos-aws runs workflows only; leave {name} out.")
        named: list[Any] = list(workflows)
        for one in named:
            if not isinstance(one, Workflow):
                raise UsageError(f"workflows holds {one!r}, which is no workflow; decorate it with @workflow.")
        self.client = client if client is not None else Polos()
        self.workflows: list[Workflow[Any, Any]] = named
        if max_concurrent_workflows is not None:
            self.client.limit_turns(max_concurrent_workflows)
        self._stopped: asyncio.Event | None = None

    async def run(self) -> None:
        """Run until `shutdown`, or until this is cancelled. Turns under way hand over before it returns."""
        self._stopped = asyncio.Event()
        await self.client.start()
        try:
            await self._stopped.wait()
        finally:
            await self.client.stop()

    async def shutdown(self) -> None:
        """Have `run` return. Does nothing if it does not run."""
        if self._stopped is not None:
            self._stopped.set()
