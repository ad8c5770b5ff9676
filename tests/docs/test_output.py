"""What a guide says that a block prints is what it prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_PRINTS = re.compile(r"^```python\n(.*?)^```\n\nIt prints:?\n\n```\n(.*?)^```", re.DOTALL | re.MULTILINE)
SHOWN = [
    pytest.param(block, output, id=f"{page.name}-{number}")
    for page in PAGES
    for number, (block, output) in enumerate(_PRINTS.findall(page.read_text(encoding="utf-8")), 1)
]


def test_there_is_output_to_compare() -> None:
    assert SHOWN


@pytest.mark.process
@pytest.mark.parametrize(("block", "output"), SHOWN)
def test_a_block_prints_what_the_guide_says_also_when_it_is_run_again(block: str, output: str, tmp_path: Path) -> None:
    (tmp_path / "block.py").write_text(block, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("POLOS_", "PYTEST_"))}
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "block.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout == output
