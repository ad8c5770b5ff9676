"""Four worker processes on one database file, killed and stopped at random, and what must hold when it is over.

Every 50 to 500 ms one of the processes gets SIGKILL, and another one takes its place, or SIGSTOP, and SIGCONT later:
mostly soon, sometimes after its leases have passed to others, so that it comes back as a zombie.
"""

from __future__ import annotations

import contextlib
import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from polos.clock import SystemClock
from polos.engine import queries, starting
from polos.engine.engine import Engine
from polos.local.backend import local_backend
from tests.chaos.processes.errands import LIMITS, errand, expected

WORKERS = 4
SCRIPT = Path(__file__).with_name("errands.py")
# What may lie between a look at the lease and the first line of the callable, where two cores are shared by many.
SLACK = 1.0


@dataclass(frozen=True)
class Stop:
    """A process stood still from `began` to `ended` (seconds since 1970)."""

    pid: int
    began: float
    ended: float


@dataclass
class Report:
    executions: int
    seconds: float
    kills: int = 0
    stops: list[Stop] = field(default_factory=list[Stop])
    attempts: int = 0
    repeated: int = 0
    drained_in: float = 0.0
    faults: list[str] = field(default_factory=list[str])

    @property
    def note(self) -> str:
        longest = max((stop.ended - stop.began for stop in self.stops), default=0.0)
        return (
            f"{self.kills:,} SIGKILL, {len(self.stops):,} SIGSTOP of up to {longest:.1f} s, "
            f"{self.attempts:,} attempts, {self.repeated:,} of them after a death, drained in {self.drained_in:.0f} s"
        )


class Fleet:
    """The processes, and what was done to them."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.database, self.log, self.errors = folder / "fleet.db", folder / "steps.log", folder / "errors.log"
        self._random = random.Random(seed)
        self._clock = SystemClock()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._asleep: dict[int, tuple[float, float]] = {}  # by place: stopped at, to go on at
        self.kills = 0
        self.stops: list[Stop] = []

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.errors.open("ab") as errors:
            return subprocess.Popen(
                [sys.executable, str(SCRIPT), str(self.database), str(self.log)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )

    def start(self) -> None:
        self._processes = [self._spawn() for _ in range(WORKERS)]

    def torment(self, seconds: float) -> None:
        """Kill and stop at random for so long. Asks nothing of the database: who is stopped may have it locked."""
        end = self._clock.monotonic() + seconds
        while self._clock.monotonic() < end:
            time.sleep(self._random.uniform(0.05, 0.5))
            self._wake_up()
            place = self._random.randrange(WORKERS)
            if place in self._asleep:
                continue
            if self._random.random() < 0.5:
                self._kill(place)
            else:
                self._stop(place)

    def _kill(self, place: int) -> None:
        process = self._processes[place]
        process.kill()
        process.wait()
        self.kills += 1
        self._processes[place] = self._spawn()

    def _stop(self, place: int) -> None:
        lease = LIMITS.lease
        away = self._random.choice((0.05, 0.3, lease - 0.4, lease + 0.1, lease + 2.0))
        self._processes[place].send_signal(signal.SIGSTOP)
        now = time.time()
        self._asleep[place] = (now, now + away)

    def _wake_up(self, everybody: bool = False) -> None:
        for place, (began, until) in list(self._asleep.items()):
            if everybody or time.time() >= until:
                process = self._processes[place]
                process.send_signal(signal.SIGCONT)
                self.stops.append(Stop(process.pid, began, time.time()))
                del self._asleep[place]

    def calm(self) -> None:
        """Let everybody go on, and bring in whoever is missing."""
        self._wake_up(everybody=True)
        for place, process in enumerate(self._processes):
            if process.poll() is not None:
                self._processes[place] = self._spawn()

    def end(self) -> None:
        self._wake_up(everybody=True)
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@dataclass
class Work:
    """The executions, started evenly over the time so that there is something to do all the while."""

    engine: Engine
    count: int
    started: int = 0

    def start_over(self, seconds: float) -> None:
        began = time.monotonic()
        while self.started < self.count:
            time.sleep(max(0.0, began + self.started * seconds / self.count - time.monotonic()))
            starting.start(self.engine, errand, self.started, {"id": f"errand-{self.started}"})
            self.started += 1

    def wrong_results(self) -> list[str]:
        wrong: list[str] = []
        for n in range(self.started):
            found = queries.describe(self.engine, f"errand-{n}")
            if found.status != "completed":
                wrong.append(f"errand-{n} is {found.status}: {found.error}")
            elif found.result != expected(n):
                wrong.append(f"errand-{n} came to {found.result}, not to {expected(n)}")
        return wrong


def run(folder: Path, *, seconds: float, executions: int, seed: int, patience: float = 120.0) -> Report:
    """Torment the fleet while it works, let it drain, and say which laws did not hold."""
    fleet, report = Fleet(folder, seed), Report(executions, seconds)
    local = local_backend(fleet.database, limits=LIMITS)
    work = Work(Engine(local.backend), executions)
    fleet.start()
    try:
        with ThreadPoolExecutor(1) as pool:
            starting_all = pool.submit(work.start_over, seconds * 0.9)
            fleet.torment(seconds)
            fleet.calm()
            starting_all.result()
        began = time.monotonic()
        while (left := _unfinished(fleet.database)) and time.monotonic() - began < patience:
            time.sleep(0.2)
        report.drained_in = time.monotonic() - began
    finally:
        fleet.end()
    report.kills, report.stops = fleet.kills, fleet.stops
    report.faults = [*(f"left behind: {line}" for line in left), *work.wrong_results()]
    _look_at_attempts(fleet, report)
    local.close()
    return report


@contextlib.contextmanager
def _reading(database: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        yield connection
    finally:
        connection.close()


def _unfinished(database: Path) -> list[str]:
    """What is not over yet: open executions, messages that are due, places, slots, waiters."""
    left: list[str] = []
    with _reading(database) as connection:
        for pk, sk, body in connection.execute("SELECT pk, sk, body FROM items WHERE sk = 'x' OR pk LIKE '_#%'"):
            item = json.loads(body)
            if sk == "x" and "en" not in item:
                left.append(f"{pk} is {item.get('st')}")
            elif sk == "slots" and (held := [name for name in item if name.startswith("h:")]):
                left.append(f"{pk} is held by {held}")
            elif sk.startswith("w#"):
                left.append(f"{pk} has {sk}")
        left += [f"message {row[0]}" for row in connection.execute(_DUE, (int(time.time() * 1000) + 60_000,))]
        left += [f"dead letter {row[0]}" for row in connection.execute("SELECT body FROM dead")]
    return left


_DUE = "SELECT body FROM messages WHERE visible_at < ?"


def _look_at_attempts(fleet: Fleet, report: Report) -> None:
    """L1: no step begins after its record, but in a process that stood still between its look and its call."""
    recorded = _recorded_at(fleet.database)
    runs: Counter[tuple[str, str]] = Counter()
    for line in fleet.log.read_text(encoding="utf-8").splitlines():
        when, execution_id, rest = line.split(" ", 2)
        key, _, pid = rest.rpartition(" ")
        step, at = (execution_id, key), float(when)
        runs[step] += 1
        if step not in recorded:
            report.faults.append(f"{execution_id} ran {key!r} and has no record of it")
        elif at > recorded[step] + 0.002 and not _stood_still(fleet.stops, int(pid), recorded[step], at):
            report.faults.append(f"{execution_id} ran {key!r} {at - recorded[step]:.3f} s after its record")
    missing = recorded.keys() - runs.keys()
    report.faults += [
        f"{execution_id} has a record of {key!r}, which never ran" for execution_id, key in sorted(missing)
    ]
    report.attempts = sum(runs.values())
    flaky = sum(1 for _, key in runs if key == "flaky")  # these have two attempts by themselves
    report.repeated = report.attempts - len(runs) - flaky


def _stood_still(stops: list[Stop], pid: int, recorded: float, at: float) -> bool:
    return any(stop.pid == pid and stop.began - SLACK < recorded and at < stop.ended + SLACK for stop in stops)


def _recorded_at(database: Path) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], float] = {}
    with _reading(database) as connection:
        for pk, sk, body in connection.execute("SELECT pk, sk, body FROM items WHERE sk LIKE 'r#%'"):
            item = json.loads(body)
            if item["k"] == "step" and item["st"] == "o":
                found[pk, sk.removeprefix("r#")] = item["at"] / 1000
    return found
