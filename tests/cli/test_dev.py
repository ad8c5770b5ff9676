"""SPEC 11, `polos dev`: what a developer sees when a run fails, and when the worker's process dies."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Start = Callable[..., "subprocess.Popen[str]"]

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]

DEADLY = """
import os
from pathlib import Path

from polos import WorkflowContext, workflow


def die_once() -> str:
    if not Path("died").exists():
        Path("died").touch()
        os._exit(9)
    return "alive"


@workflow
async def deadly(ctx: WorkflowContext) -> str:
    return await ctx.step.run("dies", die_once)


@workflow(max_retries=0)
async def fails(ctx: WorkflowContext) -> None:
    raise LookupError("on purpose")
"""


def _line(stream: object, word: str) -> str:
    for line in stream:  # type: ignore[attr-defined]
        if word in line:
            return line
    raise AssertionError(f"no line with {word!r}")


def _run(processes: Start, *arguments: str) -> None:
    started = processes("run", *arguments, "--app", "deadly.py", "--no-wait")
    try:
        _, stderr = started.communicate(timeout=50)
    finally:
        started.kill()
    assert started.returncode == 0, stderr


def _end(dev: subprocess.Popen[str]) -> None:
    dev.terminate()
    try:
        dev.communicate(timeout=50)
    finally:
        dev.kill()


def test_dev_starts_its_worker_again_when_the_process_dies(processes: Start, place: Path) -> None:
    (place / "deadly.py").write_text(DEADLY)
    dev = processes("dev", "deadly.py")
    try:
        _line(dev.stderr, "deadly")
        _run(processes, "deadly")
        assert "exit code 9" in _line(dev.stderr, "died")
        assert "completed" in _line(dev.stdout, "completed")
    finally:
        _end(dev)
    assert dev.returncode == 0


def test_dev_says_why_a_run_failed(processes: Start, place: Path) -> None:
    (place / "deadly.py").write_text(DEADLY)
    dev = processes("dev", "deadly.py", "--no-reload")
    try:
        _line(dev.stderr, "deadly")
        _run(processes, "fails")
        started = _line(dev.stdout, "started")
        assert "after" not in started
        assert "LookupError: on purpose" in _line(dev.stdout, "failed after")
    finally:
        _end(dev)
