"""Testing workflows: the whole runtime in virtual time, in memory or on moto with the real Lambda handlers."""

from polos.testing.environment import Environment

__all__ = ["Environment"]
