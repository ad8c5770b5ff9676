"""The application's declarations, found out without trusting its import: it may raise, exit, hang, print, or be killed.

The import runs in a process of its own (`polos.engine.declaring`) with a time limit and a memory limit. What that
process prints is logged, and its last lines are part of the reason when it ends without an answer.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, Final

from polos import loading
from polos.aws import application
from polos.clock import SystemClock
from polos.engine.registration import Declarations
from polos.errors import BackendError

_log = logging.getLogger("polos.aws")

_KEPT: Final = 64 * 1024
"""Bytes of the process's output that are kept, the last ones."""

_DECLARING: Final = "polos.engine.declaring"
_ABORTED: Final = "Fatal Python error: Aborted"
_LOOK_EVERY: Final = 0.02
_TELLS_WITHIN: Final = 1.0
"""Seconds that a process gets to say where it hangs."""


class ImportFailed(BackendError):
    """The application could not be imported. `details` is its traceback, or what it printed last."""

    def __init__(self, reason: str, details: str = "") -> None:
        self.details = details
        super().__init__(reason)


def declarations(seconds: float, memory: int | None = None) -> Declarations:
    """Import what `POLOS_APP` names and return what it declares. Raises `ImportFailed`.

    `memory` is what the import may use, in bytes, as far as /proc tells; None: no limit.
    """
    name = os.environ.get(application.VARIABLE, "")
    with tempfile.TemporaryDirectory(prefix="polos-") as directory:
        file = Path(directory) / "declarations.json"
        process = _Process(file)
        try:
            ended = process.wait(seconds, memory)
        finally:
            output = process.end()
        if output:
            _log.info("the import of %r printed: %s", name, output)
        if ended is not None:
            raise ImportFailed(f"The import of the application {name!r} {ended}", _where(output))
        if not file.exists():
            raise ImportFailed(f"The import of the application {name!r} {_how_it_ended(process.code)}", output)
        outcome: dict[str, Any] = json.loads(file.read_text())
    failed = outcome.get("failed")
    if failed is not None:
        _log.error("the application %r could not be imported\n%s", name, failed["traceback"])
        raise ImportFailed(f"The application {name!r} could not be imported: {failed['error']}", failed["traceback"])
    return Declarations.of_json(outcome["declared"])


class _Process:
    """The process that imports, in a session of its own, so that whatever it starts can be ended with it."""

    def __init__(self, file: Path) -> None:
        path = os.pathsep.join(entry for entry in sys.path if entry)
        self._process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-m", _DECLARING, application.VARIABLE, str(file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
        )
        assert self._process.stdout is not None
        self._pipe = self._process.stdout
        self._kept = bytearray()
        self._reader = threading.Thread(target=self._read, name="polos-import-output", daemon=True)
        self._reader.start()

    @property
    def code(self) -> int:
        return self._process.returncode

    def wait(self, seconds: float, memory: int | None) -> str | None:
        """Wait until it ends. Otherwise why it must be ended, as the rest of a sentence."""
        clock = SystemClock()
        end = clock.monotonic() + seconds
        while True:
            try:
                self._process.wait(_LOOK_EVERY)
            except subprocess.TimeoutExpired:
                if memory is not None and resident(self._process.pid) > memory:
                    return (
                        f"was stopped when it took more than {memory // 2**20} MB of memory. Raise the parameter "
                        f"Memory, or load large things when they are first used."
                    )
                if clock.monotonic() > end:
                    self._tell_where()
                    return (
                        f"was stopped after {seconds:.0f} s. A module that waits for something, or serves something, "
                        f"when it is imported can't be deployed; do that in a step."
                    )
            else:
                return None

    def _tell_where(self) -> None:
        """Have it print where every thread is, by the fault handler that it was started with, and die of that."""
        self._process.send_signal(signal.SIGABRT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_TELLS_WITHIN)

    def end(self) -> str:
        """End it and what it started; the end of what it printed."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nothing is left of the group
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join(1.0)  # not for ever: what has left the group may hold the pipe
        if not self._reader.is_alive():
            self._pipe.close()
        return bytes(self._kept).decode(errors="replace").strip()

    def _read(self) -> None:
        while some := os.read(self._pipe.fileno(), 65_536):
            self._kept += some
            del self._kept[:-_KEPT]


def _where(output: str) -> str:
    """The fault handler's words, without those of the import itself; what was printed, if it had none."""
    _, found, dump = output.rpartition(_ABORTED)
    ours = ("<frozen ", "Extension modules:", loading.__file__, importlib.__file__, "/polos/engine/declaring.py")
    lines = [line for line in dump.splitlines() if line.strip() and not any(word in line for word in ours)]
    return "\n".join(lines) if found else output


def resident(pid: int) -> int:
    """Bytes of memory that a process has, as /proc/PID/statm says (proc(5)); 0 where that cannot be known."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGESIZE")


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"ended its process with the exit code {code}."
    with contextlib.suppress(ValueError):
        name = signal.Signals(-code).name
        hint = " Most often that is a lack of memory: raise the parameter Memory." if name == "SIGKILL" else ""
        return f"was killed by {name}.{hint}"
    return f"was killed by the signal {-code}."
