"""Testing workflows: the whole runtime in virtual time, in memory or on moto with the real Lambda handlers."""

from polos.testing.environment import Environment
from polos.testing.faults import (
    Deadline,
    Delay,
    Duplicate,
    Early,
    Fault,
    Faults,
    Kill,
    LoseReply,
    Meanwhile,
    Reorder,
    ServerError,
    Skew,
    Slow,
    Stall,
    Throttle,
)
from polos.testing.shrinking import Shrunk, shrink

__all__ = [
    "Deadline",
    "Delay",
    "Duplicate",
    "Early",
    "Environment",
    "Fault",
    "Faults",
    "Kill",
    "LoseReply",
    "Meanwhile",
    "Reorder",
    "ServerError",
    "Shrunk",
    "Skew",
    "Slow",
    "Stall",
    "Throttle",
    "shrink",
]
