"""L1, L11: the demo is killed at twenty moments; the next process finishes its work and repeats nothing recorded."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from polos.core.identity import idempotency_key

DEMO = Path(__file__).parents[2] / "examples" / "digest" / "demo.py"
AT_ONCE = 2
LEASE = 30.0


@dataclass(frozen=True)
class Run:
    """One database, and what is in it and beside it."""

    folder: Path
    database: Path

    def start(self) -> subprocess.Popen[str]:
        arguments = ["--headless", "--folder", str(self.folder), "--database", str(self.database)]
        return subprocess.Popen(
            [sys.executable, str(DEMO), *arguments, "--batch", "2", "--pace", "0.08", "--pause", "0.15"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def attempts(self) -> list[str]:
        """The idempotency keys of all attempts so far, in order; a line that was cut off is no attempt."""
        log = Path(f"{self.database}-steps.log")
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        return [line.split()[0] for line in lines if line.count(" ") == 2]

    def recorded(self) -> set[str]:
        """The idempotency keys of the steps whose outcome is on record."""
        steps = [
            (pk, sk.removeprefix("r#")) for pk, sk, body in self._items() if sk.startswith("r#") and _decided(body)
        ]
        return {idempotency_key(execution_id, key) for execution_id, key in steps}

    def digests(self) -> dict[str, str]:
        """The executions of `digest`, each with its status."""
        found = [(pk, json.loads(body)) for pk, sk, body in self._items() if sk == "x"]
        return {pk: body["st"] for pk, body in found if body.get("wf") == "digest"}

    def _items(self) -> list[tuple[str, str, str]]:
        if not self.database.exists():
            return []
        connection = sqlite3.connect(self.database)
        try:
            return connection.execute("SELECT pk, sk, body FROM items").fetchall()
        except sqlite3.OperationalError:  # killed before the tables were made
            return []
        finally:
            connection.close()

    def report(self) -> str:
        return self.database.with_name("demo-1.md").read_text(encoding="utf-8")


def _decided(body: str) -> bool:
    return json.loads(body)["st"] == "o"


@pytest.fixture
def run_in(tmp_path: Path) -> Callable[[str], Run]:
    folder = tmp_path / "measured"
    for name in ("", "one", "two/deep", "three"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(6):
            (folder / name / f"{number}.txt").write_text(f"{name} {number}\n" * (number + 1), encoding="utf-8")
    return lambda name: Run(folder, tmp_path / name / "demo.db")


def moments(steps: int) -> list[tuple[int, float]]:
    """When to kill: after so many attempts have begun, and so many seconds more."""
    while_measuring = [(1 + at * (steps - 2) // 13, at % 4 * 0.02) for at in range(14)]
    while_suspended = [(steps - 1, after) for after in (0.0, 0.06, 0.12, 0.18)]
    return [(0, 0.3), *while_measuring, *while_suspended, (steps, 0.0)]


def finish(run: Run) -> tuple[str, str]:
    """Start the demo and let it end; its output and its errors."""
    with run.start() as process:
        try:
            return process.communicate(timeout=60)
        finally:
            process.kill()


def kill_at(run: Run, attempts: int, after: float) -> None:
    """Start the demo and kill it when this database has seen so many attempts, and a little later."""
    with run.start() as process:
        while len(run.attempts()) < attempts and process.poll() is None:
            time.sleep(0.002)
        time.sleep(after)
        process.kill()
        process.communicate()


@pytest.mark.process
@pytest.mark.timeout(240)
def test_l11_killed_at_any_moment_the_next_process_finishes_and_no_recorded_step_runs_again(
    run_in: Callable[[str], Run],
) -> None:
    whole = run_in("whole")
    _, errors = finish(whole)
    assert errors == ""
    steps = whole.attempts()
    assert len(set(steps)) == len(steps)
    assert set(steps) <= whole.recorded()

    def kill_and_restart(moment: tuple[int, float]) -> bool:
        run = run_in("killed at {} and {}".format(*moment))
        kill_at(run, *moment)
        ended = "completed" in run.digests().values()
        recorded, attempts = run.recorded(), run.attempts()
        again = time.monotonic()
        output, errors = finish(run)
        assert time.monotonic() - again < LEASE / 2, "the restart waited for the dead process's lease"
        if ended:  # the second one was a run of its own
            return False
        assert errors == ""
        assert "report" in output
        assert run.report() == whole.report()
        assert run.digests() == {"demo-1": "completed"}
        assert recorded.isdisjoint(run.attempts()[len(attempts) :]), "a recorded step ran again"
        assert set(run.attempts()) == set(steps)
        return True

    chosen = moments(len(steps))
    assert len(chosen) == 20
    with ThreadPoolExecutor(AT_ONCE) as pool:
        interrupted = list(pool.map(kill_and_restart, chosen))
    assert sum(interrupted) >= 16, "too few kills met a demo at work to say anything"


@pytest.mark.process
@pytest.mark.timeout(120)
def test_l11_killed_twice_the_third_process_finishes(run_in: Callable[[str], Run]) -> None:
    run = run_in("twice")
    for _ in range(2):  # with records in between: without any, the next attempt would be put off (L14)
        recorded, attempts = run.recorded(), run.attempts()
        kill_at(run, len(attempts) + 9, 0.0)
        assert len(run.recorded()) > len(recorded)
        assert recorded.isdisjoint(run.attempts()[len(attempts) :])
    output, errors = finish(run)
    assert errors == ""
    assert "report" in output
