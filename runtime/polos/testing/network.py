"""Requests that go wrong below the ports, where the backend has no client library of its own to make them so."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TypeVar

from polos.errors import BackendError
from polos.ports import ConditionFailed

T = TypeVar("T")
ATTEMPTS = 4


class Disturbed(BackendError):
    """A request that a fault has made fail, as it would in the end on AWS."""


class PlainNetwork:
    """A client library that makes four attempts, on a backend that has none."""

    def refuse(self, act: Callable[[], T], code: str, times: int) -> T:
        if times >= ATTEMPTS:
            raise Disturbed(f"The backend refused a request {times} times ({code}), as the test asked.")
        return act()

    def lose_reply(self, act: Callable[[], T]) -> T:
        with contextlib.suppress(ConditionFailed):
            act()
        return act()
