"""Which processes use a database file: each holds a lock that the operating system drops when it dies."""

from __future__ import annotations

import os
from pathlib import Path

from polos.clock import new_token

try:
    import fcntl
except ImportError:  # not on Windows: there, leases and messages of a dead process run out by time
    fcntl = None


class Presence:
    """This process's own lock, and looking at those of others. `name` identifies the process to others."""

    def __init__(self, database: str) -> None:
        self.name = f"{os.getpid()}-{new_token()}"
        self._folder = None if database == ":memory:" or fcntl is None else Path(f"{database}-workers")
        self._descriptor: int | None = None
        if self._folder is not None and fcntl is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._folder / self.name, os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def is_dead(self, name: str) -> bool:
        """Whether the process of this name has provably ended."""
        if self._folder is None or fcntl is None or "/" in name or name == self.name:
            return False
        path = self._folder / name
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        path.unlink(missing_ok=True)
        return True

    def close(self) -> None:
        if self._descriptor is not None and self._folder is not None:
            os.close(self._descriptor)
            (self._folder / self.name).unlink(missing_ok=True)
            self._descriptor = None
