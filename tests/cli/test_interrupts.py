"""SPEC 11, Ctrl-C at any moment: a command that waits for somebody ends at the first one, however early it comes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

Start = Callable[..., "subprocess.Popen[str]"]

pytestmark = [
    pytest.mark.process,
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be sent Ctrl-C alone there"),
]

MAIN = """
from polos.cli.entry import main
main()
"""

# Ctrl-C as soon as these words have been written, before the next line of the program runs.
AT_THESE_WORDS = """
import signal, sys

class Stream:
    def __init__(self, stream, words):
        self._stream, self._words, self._told = stream, words, ""

    def write(self, text):
        written = self._stream.write(text)
        self._told += text
        if self._words and self._words in self._told:
            self._words = ""
            self._stream.flush()
            signal.raise_signal(signal.SIGINT)
        return written

    def __getattr__(self, name):
        return getattr(self._stream, name)

sys.stderr = Stream(sys.stderr, sys.argv.pop(1))
"""

# Ctrl-C as soon as standard input is read for the first time, before the system is asked for more.
AT_THE_READ = """
import signal, sys

class Stream:
    def __init__(self, stream):
        self._stream = stream

    def read(self):
        signal.raise_signal(signal.SIGINT)
        return self._stream.read()

    def __getattr__(self, name):
        return getattr(self._stream, name)

sys.stdin = Stream(sys.stdin)
"""

# A signal that comes just before the read is one that does not interrupt it: here another thread takes them all.
BETWEEN_THE_LAST_CHECK_AND_THE_READ = """
import signal, threading

threading.Thread(target=threading.Event().wait, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
"""

# Ctrl-C when the worker's process is there, and before the one that starts it knows.
WHILE_THE_WORKER_STARTS = """
import asyncio, signal

start = asyncio.create_subprocess_exec

async def interrupted(*args, **kwargs):
    process = await start(*args, **kwargs)
    signal.raise_signal(getattr(signal, "SIGNAL"))
    try:
        await asyncio.sleep(0)
    finally:
        process.kill()
        await process.wait()
    return process

asyncio.create_subprocess_exec = interrupted
"""

# A worker that does not end in time.
NO_GRACE = """
import polos.cli.dev

polos.cli.dev._GRACE = 0.0
"""


@contextmanager
def polos(before: str, *arguments: str) -> Generator[subprocess.Popen[bytes]]:
    """The command line after some lines of Python, with a standard input that is open and on which nothing comes."""
    with subprocess.Popen(
        [sys.executable, "-c", before + MAIN, *arguments],
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def told(process: subprocess.Popen[bytes], words: bytes) -> bytes:
    """Standard error until these words, which need not end a line, or else all of it."""
    assert process.stderr is not None
    seen = b""
    while words not in seen and (more := process.stderr.read(1)):
        seen += more
    return seen


def end(process: subprocess.Popen[bytes]) -> tuple[int, bytes]:
    """The exit code and the rest of standard error; the standard input stays open until then."""
    code = process.wait(50)
    assert process.stderr is not None
    return code, process.stderr.read()


@pytest.fixture
def waiting(processes: Start) -> None:
    """An execution that can be cancelled."""
    left = processes("run", "asks", "--app", "greetings", "--no-wait", "--id", "one")
    assert left.communicate()[0] == "one\n"


@pytest.mark.usefixtures("waiting")
def test_at_a_question_nothing_is_changed() -> None:
    with polos("", "cancel", "--workflow", "asks") as asking:
        assert b"[y/N]" in told(asking, b"[y/N] ")
        asking.send_signal(signal.SIGINT)
        assert end(asking) == (130, b"\npolos: nothing was changed.\n")


@pytest.mark.usefixtures("waiting")
def test_at_the_very_moment_of_the_question_nothing_is_changed() -> None:
    with polos(AT_THESE_WORDS, "[y/N]", "cancel", "--workflow", "asks") as asking:
        assert b"[y/N]" in told(asking, b"[y/N] ")
        assert end(asking) == (130, b"\npolos: nothing was changed.\n")


@pytest.mark.usefixtures("waiting")
def test_before_the_question_it_is_not_asked() -> None:
    with polos(AT_THESE_WORDS, "for example one", "cancel", "--workflow", "asks") as asking:
        assert b"for example one" in told(asking, b"one\n")
        code, rest = end(asking)
    assert code == 130
    assert b"Traceback" not in rest


@pytest.mark.usefixtures("waiting")
def test_a_read_that_it_does_not_interrupt_ends_all_the_same() -> None:
    with polos(BETWEEN_THE_LAST_CHECK_AND_THE_READ, "cancel", "--workflow", "asks") as asking:
        assert b"[y/N]" in told(asking, b"[y/N] ")
        asking.send_signal(signal.SIGINT)
        assert end(asking) == (130, b"\npolos: nothing was changed.\n")


@pytest.mark.usefixtures("place")
def test_in_the_middle_of_a_payload() -> None:
    with polos(AT_THE_READ, "publish", "orders", "@-") as reading:
        assert reading.stdin is not None
        reading.stdin.write(b'{"item": ')
        reading.stdin.flush()
        assert end(reading) == (130, b"polos: interrupted.\n")


def test_before_a_payload_is_read(place: Path) -> None:
    (place / "telling.py").write_text("import sys, greetings\nprint('loaded', file=sys.stderr)\n", encoding="utf-8")
    with polos(AT_THESE_WORDS, "loaded", "run", "hello", "--app", "telling.py", "--input", "@-") as reading:
        assert b"loaded" in told(reading, b"loaded\n")
        assert end(reading) == (130, b"polos: interrupted.\n")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.usefixtures("place")
def test_dev_ends_while_its_worker_starts(name: str) -> None:
    start = WHILE_THE_WORKER_STARTS.replace("SIGNAL", name)
    with polos(start, "dev", "greetings", "--no-reload") as dev:
        assert b"stopping" in told(dev, b"stopping")
        code, rest = end(dev)
    assert code == 0
    assert b"Traceback" not in rest


@pytest.mark.usefixtures("place")
def test_dev_ends_well_though_its_worker_has_to_be_killed() -> None:
    with polos(NO_GRACE, "dev", "greetings", "--no-reload") as dev:
        assert b"Ctrl-C ends it" in told(dev, b"Ctrl-C ends it")
        dev.send_signal(signal.SIGINT)
        code, rest = end(dev)
    assert code == 0
    assert b"stopping" in rest
