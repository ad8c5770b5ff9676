"""Programs as users of the upstream SDK write them, each run as it is, in a process and a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).with_name("programs")
PRINTED = {
    "order": """OrderResult o1 10.5 True
order-processing True
completed o2
completed order-processing 1
""",
    "approval": """suspended approve_expense 12 Approve?
finished {'approved': True, 'by': 'ada'}
completed {'approved': True, 'by': 'ada'}
""",
    "triggers": """True
ada: sent bob
['batch of 1', 'user/signup created bob']
True
per-user:ada ['global', 'ada']
""",
    "fan_out": """caught True
[1, 4, 0, 16, 25]
81
[4, 9]
timed out timed_out
failed True
True cancelled
""",
    "saga": """{'status': 'success', 'done': ['reserve', 'pay', 'ship']}
rolled_back True ['refunded', 'released']
2 bad-b True
failed True None
""",
    "form": """['form']
step 1 person
step 2 wishes
completed Ada True
FormResult True
""",
    "review": """{'approved': True, 'by': ['ada', 'bob', 'eve']}
{'chunks': 3, 'results': [0, 2, 4, 6, 8, 10, 12]}
2 2
[[0], [2], [4]]
""",
    "hooked": """Hello Ada (s, u, 0, workflow)!
refused True
2 True
['greet', 'plain'] True
""",
}


def test_every_program_is_run() -> None:
    assert {path.stem for path in PROGRAMS.glob("*.py")} == PRINTED.keys()


@pytest.mark.process
@pytest.mark.parametrize("name", [*PRINTED])
def test_upstream_program_runs_as_it_is(name: str, tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("POLOS_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(PROGRAMS / f"{name}.py")],
        cwd=tmp_path,
        env={**environment, "POLOS_LOCAL_DB": str(tmp_path / "polos.db")},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.stdout, done.returncode) == (PRINTED[name], 0), done.stderr
    assert (tmp_path / "polos.db").exists()
    assert (tmp_path / "polos.log").exists() == ("log_file=" in (PROGRAMS / f"{name}.py").read_text())
