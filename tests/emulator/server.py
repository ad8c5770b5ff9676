"""The emulator as a process of the lane: started on a free port, stopped by its own process id."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-emulator" / "bin" / "python"
POLOS = ROOT / ".venv" / "bin" / "polos"
_READY, _GRACE = 30.0, 120.0  # at its end the emulator removes what functions were unpacked into


class Emulator:
    """An emulator of AWS. `log` is what ministack and the functions wrote."""

    def __init__(self, log: Path, *, auth: bool) -> None:
        self.log, self.port, self.auth = log, _free_port(), auth
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def environment(self, key: str = "test", secret: str = "test") -> dict[str, str]:
        """What a program's environment needs to talk to it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REGION": "us-east-1",
        }

    def start(self) -> None:
        command = [str(PYTHON), str(ROOT / "infra" / "emulator.py"), "--port", str(self.port)]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "--auth"] if self.auth else command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.log.parent,
            )
        until = time.monotonic() + _READY
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise RuntimeError(f"the emulator did not start:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Its own process only, by SIGTERM; by SIGKILL if it does not end. The functions' processes end with it."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def entries(self, since: int = 0) -> list[dict[str, Any]]:
        """What was asked of it, and which functions were invoked, from a position on."""
        with urllib.request.urlopen(f"{self.url}/_polos/log?{since}", timeout=10) as answer:
            return list(json.loads(answer.read()))

    def processes_of(self, function: str) -> list[int]:
        """The processes in which a function runs, or waits for its next invocation: children of the emulator's only."""
        assert self._process is not None
        return [pid for pid in _children(self._process.pid) if function in _variable(pid, "AWS_LAMBDA_FUNCTION_NAME")]

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.url}/_ministack/health", timeout=1).close()
        except (urllib.error.URLError, OSError):
            return False
        return True


def _children(parent: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{parent}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # a thread that has ended meanwhile
            found += [int(pid) for pid in (task / "children").read_text().split()]
    return found


def _variable(pid: int, name: str) -> str:
    """A variable of a process's environment; empty for one that is no more."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            key, _, value = line.decode(errors="replace").partition("=")
            if key == name:
                return value
    return ""


def clean_environment() -> dict[str, str]:
    """This process's environment without what would change what AWS libraries or polos do."""
    left_out = ("AWS_", "POLOS_")
    return {name: value for name, value in os.environ.items() if not name.startswith(left_out)}


def run(*command: str, cwd: Path, environment: Mapping[str, str], timeout: float = 240) -> str:
    """Run a program to its end; what it printed. Raises `AssertionError` with that if it failed."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**clean_environment(), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-8000:]}")
    return done.stdout


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
