"""examples/digest: the workflow in virtual time, and the demo as the process that `make demo` starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from polos.testing import Environment

DEMO = Path(__file__).parents[2] / "examples" / "digest" / "demo.py"
Example = Callable[[str], ModuleType]


async def begun(app: ModuleType, env: Environment, folder: Path, **options: Any) -> Any:
    request = app.DigestRequest(folder=str(folder), report=str(folder.parent / "out" / "report.md"), **options)
    handle = await env.start(app.digest, request)
    await env.settle()
    return handle


async def measured(app: ModuleType, folder: Path, batch_size: int) -> Any:
    async with Environment(workflows=[app.digest, app.measure]) as env:
        handle = await begun(app, env, folder, batch_size=batch_size)
        detail = await env.describe(handle)
        assert (detail.status, [step.key for step in detail.waiting_for]) == ("waiting", ["approval"])
        await env.publish(app.approval_topic(handle.id), {"approved": True, "by": "Ada"})
        return await env.finish(handle)


def test_an_approved_digest_writes_the_report(example: Example, folder: Path, run: Callable[..., Any]) -> None:
    app = example("app")
    result = run(measured(app, folder, 20))
    assert (result.approved, result.approved_by) == (True, "Ada")
    assert (result.total.files, result.total.lines, result.total.bytes) == (5, 13, 8 + 2 + 1000 + 80)
    report = Path(result.report).read_text(encoding="utf-8")
    assert [line.split()[1] for line in report.splitlines() if line.startswith("| ")] == ["folder", "docs", "src", "."]
    assert result.total.sha256 in report


def test_the_sizes_of_batches_change_the_hash_but_no_count(
    example: Example, folder: Path, run: Callable[..., Any]
) -> None:
    app = example("app")
    one, many = (run(measured(app, folder, size)).total for size in (1, 20))
    assert (one.files, one.lines, one.bytes) == (many.files, many.lines, many.bytes)


def test_without_an_approval_in_time_there_is_no_report(
    example: Example, folder: Path, run: Callable[..., Any]
) -> None:
    app = example("app")

    async def body() -> Any:
        async with Environment(workflows=[app.digest, app.measure]) as env:
            handle = await begun(app, env, folder, approval_seconds=3600)
            return await env.finish(handle), env.now

    result, _ = run(body())
    assert (result.approved, result.report) == (False, None)
    assert not (folder.parent / "out").exists()


def test_a_folder_that_is_not_there_fails_the_digest(example: Example, folder: Path, run: Callable[..., Any]) -> None:
    app = example("app")

    async def body() -> Any:
        async with Environment(workflows=[app.digest, app.measure]) as env:
            return await env.finish(await begun(app, env, folder / "nothing"))

    with pytest.raises(RuntimeError, match="nothing is not a folder"):
        run(body())


# ---- the demo


def start_demo(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    database = folder.parent / "state" / "demo.db"
    return subprocess.Popen(
        [sys.executable, str(DEMO), "--folder", str(folder), "--database", str(database), "--pause", "0.2", *arguments],
        env={**os.environ, "COLUMNS": "80", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def shown(process: subprocess.Popen[str]) -> str:
    with process:
        try:
            stdout, stderr = process.communicate(timeout=40)
        finally:
            process.kill()
    assert (process.returncode, stderr) == (0, "")
    return stdout


@pytest.mark.process
def test_the_demo_shows_steps_suspension_timeline_and_report_and_can_be_run_again(folder: Path) -> None:
    first, second = shown(start_demo(folder, "--pace", "0")), shown(start_demo(folder, "--pace", "0"))
    for number, text in enumerate((first, second), 1):
        for words in (f"as demo-{number}", "Suspended: nothing runs.", "Approved", "completed after", "# measured"):
            assert words in text
        assert "\x1b" not in text
        assert max(len(line) for line in text.splitlines() if "/" not in line) <= 80
    assert first.count("batch_0") == 3
    reports = [folder.parent / "state" / f"demo-{number}.md" for number in (1, 2)]
    assert reports[0].read_text(encoding="utf-8") == reports[1].read_text(encoding="utf-8")


@pytest.mark.process
def test_the_demo_interrupted_says_how_to_go_on_and_goes_on(folder: Path) -> None:
    process = start_demo(folder, "--pace", "0.5", PYTHONUNBUFFERED="1")
    with process:
        assert process.stdout is not None
        while "find_folders" not in process.stdout.readline():
            continue
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (130, "")
    assert rest.splitlines()[-1] == "Stopped; nothing is lost: the same command goes on from here."
    again = shown(start_demo(folder, "--pace", "0"))
    assert again.startswith("demo-1 was left unfinished: it goes on.\n")
    assert "find_folders    3" not in again
    assert "Report: " in again


@pytest.mark.process
def test_the_demo_of_a_folder_that_is_not_there_says_so(folder: Path) -> None:
    with start_demo(folder / "nothing") as process:
        stdout, stderr = process.communicate(timeout=20)
    assert (process.returncode, stdout) == (2, "")
    assert "there is no folder" in stderr
