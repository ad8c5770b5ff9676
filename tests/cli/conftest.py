"""A folder to work in, an application in it, and two ways to call the command line."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from polos.cli.commands import application

APP = """
from pydantic import BaseModel

from polos import WorkflowContext, workflow


class Who(BaseModel):
    name: str
    times: int = 1


@workflow
async def hello(ctx: WorkflowContext, who: Who) -> str:
    for number in range(who.times):
        await ctx.step.run(f"greet_{number}", str.upper, who.name)
    return f"hello {who.name}"


@workflow
async def broken(ctx: WorkflowContext):
    def fail():
        raise RuntimeError("broken on purpose")

    await ctx.step.run("fails", fail, max_retries=0)


@workflow
async def asks(ctx: WorkflowContext):
    event = await ctx.step.wait_for_event("order", topic="orders")
    answer = await ctx.step.suspend("confirm", {"order": event.data})
    return [event.data, answer["data"]]
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with the application `greetings` in it, and no settings in the environment."""
    for name in ("POLOS_STACK", "POLOS_LOCAL_DB", "POLOS_APP"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "greetings.py").write_text(APP, encoding="utf-8")
    return tmp_path


@pytest.fixture
def polos(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    """Call a command in this process; what it imports is forgotten afterwards."""
    monkeypatch.setattr(sys.modules["polos.workflow"], "_registry", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    importlib.invalidate_caches()
    yield lambda *arguments: CliRunner().invoke(application, [str(one) for one in arguments])
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(place)):
            del sys.modules[name]


@pytest.fixture
def processes(place: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start `polos` as a process of its own."""

    def start(*arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", "from polos.cli.entry import main; main()", *arguments],
            cwd=place,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start
