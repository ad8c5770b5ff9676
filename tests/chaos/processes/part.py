"""The part `processes` of a chaos run: real processes on one database file. CI runs it as a test (`test_fleet`)."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from tests.chaos.processes import fleet
from tests.chaos.report import Effort, Row


def run(effort: Effort) -> Iterable[Row]:
    if not effort.full:
        return
    executions, seconds = 1000, 120
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = fleet.run(Path(folder), seconds=seconds, executions=executions, seed=7)
        failures = list(report.faults)
        if failures:
            failures.append(Path(folder, "errors.log").read_text(encoding="utf-8")[-3000:])
    what = f"{fleet.WORKERS} workers on one database"
    yield Row("processes", what, executions, time.monotonic() - began, report.note, failures)
