"""Runs Python files in forks of one process that has imported polos already: each fork has a registry of its own.

A line of JSON with `file`, `folder` and `pytest` on standard input; a line with the exit status as the answer. What
the file prints is in `output` beside it. The process that forks has no threads.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
import threading
import traceback

import polos.client
import polos.local.backend
import polos.local.worker
import polos.testing.memory_harness  # noqa: F401 - imported once, for all forks
from polos.testing import Environment  # noqa: F401

SECONDS = 40


def run(file: str, folder: str, with_pytest: bool) -> int:
    """In the fork: the file as a script, or as a module of tests. Returns what the process should exit with."""
    signal.alarm(SECONDS)
    os.chdir(folder)
    output = os.open("output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if with_pytest:
        import pytest

        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # finding and importing them takes longer than the tests
        return pytest.main(["-q", "-p", "no:cacheprovider", "-p", "polos.testing.plugin", file])
    try:
        runpy.run_path(file, run_name="__main__")
    except BaseException:  # noqa: BLE001 - what would end a script with a traceback
        traceback.print_exc()
        return 1
    return 0


def in_fork(file: str, folder: str, with_pytest: bool) -> int:
    assert threading.active_count() == 1
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    sys.exit(run(file, folder, with_pytest))  # as a script ends: threads joined, exit handlers called


def serve() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        print(in_fork(order["file"], order["folder"], order["pytest"]), flush=True)  # noqa: T201


if __name__ == "__main__":
    serve()
