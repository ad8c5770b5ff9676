"""L1, L10, L11, L13 on real processes: a short run of the fleet. `make chaos` runs it for two minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.processes import fleet


@pytest.mark.process
@pytest.mark.timeout(180)
def test_l11_processes_that_are_killed_and_stopped_at_random_finish_everything(tmp_path: Path) -> None:
    report = fleet.run(tmp_path, seconds=15, executions=200, seed=1)
    assert report.faults == []
    assert report.kills > 5
    assert len(report.stops) > 3
