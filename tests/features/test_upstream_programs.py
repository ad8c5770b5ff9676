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
    "checkout": """small paid None 20.0
asked large 2000.0
large paid grace 2000.0
asked huge 20000.0
huge rejected grace 0.0
free invalid None 0.0
{'small': 2, 'large': 2}
""",
    "research": """Report {'moon past': ['web: moon', 'web: past', 'library: moon', 'library: past'], \
'moon future': ['web: moon', 'web: future', 'library: moon', 'library: future']}
['mars future', 'mars past'] 1 True
completed ['Finding', 'Finding'] ['web: sun']
completed ['Finding', 'Finding'] ['web: earth']
""",
    "batches": """7 True
[{'count': 3, 'total': 6}, {'count': 3, 'total': 15}]
[1, 2, 3, 4, 5, 6, 7]
[{'id': 'o4'}]
""",
    "report": """True
daily-report global 0 9 * * * UTC
user-digest ada 0 7 * * * America/New_York
user-digest bob */30 * * * * UTC
weekday-reminder team 30 8 * * MON-FRI Europe/Berlin
{'key': 'global', 'next': '2030-05-02T09:00:00+00:00', 'hours': 24}
['ada']
""",
    "stateful": """the state is validated
{'items': ['SHOE', 'HAT', 'BAG'], 'visits': 1, 'count': 3}
{'items': ['SHOE', 'HAT', 'BAG'], 'visits': 1}
the state is validated
{'items': ['SHOE', 'HAT', 'BAG', 'BAG'], 'visits': 2, 'count': 4}
refused: who are you?
""",
    "lanes": """6 {'acme': 1, 'globex': 1}
[0, 1, 2, 3, 4, 5] True
[0, 1, 0, 1] True
mail vip
""",
    "family": """{'supplier': 'acme', 'price': 4} 1 True
None ['answers', 'out']
True True
True
cancelled False
""",
    "streaming": """['workflow_start book', 'workflow_start chapter', 'progress 0', 'workflow_finish chapter', \
'workflow_start chapter', 'progress 1', 'workflow_finish chapter', 'workflow_finish book']
['chapter_0', 'chapter_1', 'news_0', 'news_1', 'told', 'write']
[50, 100]
[] chapter 0, chapter 1
""",
    "polling": """backup {'status': 'done', 'attempts': 3} 3
broken {'status': 'reported', 'attempts': 1} 1
endless {'status': 'gave up', 'attempts': 4} 4
4 True
""",
    "other_process": """answered review_1
answered review_2
completed {'title': 'Hello', 'version': 2} {'title': 'Helo', 'version': 1}
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
