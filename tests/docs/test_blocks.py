"""Every Python block of the README and the guides runs, each in a process and an empty folder of its own.

A block with the fixture `polos_env` is run by pytest, any other as a script. The processes are forks of one that has
polos imported: importing it is what takes the time.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
GUIDES = [page for page in PAGES if page.name not in ("design.md", "laws.md")]
BLOCKS = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in PAGES
    for number, block in enumerate(re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE), 1)
]

Run = Callable[[Path, bool], int]


@pytest.fixture(scope="module")
def run() -> Generator[Run]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("POLOS_", "PYTEST_"))}
    server = subprocess.Popen(
        [sys.executable, "-W", "error::DeprecationWarning", str(Path(__file__).with_name("block_server.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    orders, answers = server.stdin, server.stdout

    def order(file: Path, with_pytest: bool) -> int:
        orders.write(json.dumps({"file": str(file), "folder": str(file.parent), "pytest": with_pytest}) + "\n")
        orders.flush()
        return int(answers.readline())

    yield order
    orders.close()
    answers.close()
    assert server.wait(10) == 0


@pytest.mark.process
@pytest.mark.parametrize("block", BLOCKS)
def test_block_runs(block: str, tmp_path: Path, run: Run) -> None:
    with_pytest = "polos_env" in block
    file = tmp_path / ("test_block.py" if with_pytest else "block.py")
    file.write_text(block)
    status = run(file, with_pytest)
    assert status == 0, (tmp_path / "output").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_anchors_exist(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", page.read_text()):
        there = (page.parent / target if target else page).read_text()
        titles = re.findall(r"^#+ (.*)$", there, re.MULTILINE)
        slugs = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
        assert anchor in slugs, f"{target}#{anchor}"


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    assert [page.name for page in PAGES[1:] if page.name != "README.md" and f"({page.name})" not in index] == []


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_a_guide_shows_code_that_runs(page: Path) -> None:
    """Code, or what is typed at a prompt (`test_shell` holds it); figures need neither."""
    text = page.read_text()
    assert "```python\n" in text or "```console\n" in text or page.name in ("README.md", "reliability.md")
