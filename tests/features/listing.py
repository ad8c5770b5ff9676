"""What a world holds, as tests look at it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from polos.client import ExecutionPage
from polos.testing import Environment


async def listed(env: Environment, **filters: Any) -> ExecutionPage:
    """The executions of the last weeks: a listing looks month by month, which takes moto long."""
    return await env.client.list_executions(since=env.now - timedelta(days=20), **filters)
