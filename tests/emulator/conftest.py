"""The lane: this repository and a project made by `polos init`, deployed by SAM to an emulator and driven from outside.

`make e2e` runs it. The client of each test has only the permissions of the stack's client policy.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulator.background import Background
from tests.emulator.server import ROOT, Emulator
from tests.emulator.stack import ARTIFACTS, SAM, Stack, administrator, laptop
from tests.emulator.table import Measured

HERE = Path(__file__).parent
MEASURED = Measured()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.emulator)
            item.add_marker(pytest.mark.timeout(400))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if MEASURED.lines:
        terminalreporter.section("scenarios")
        for line in MEASURED.report():
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    missing = [str(path) for path in (SAM, ROOT / ".venv-emulator") if not path.exists()]
    if missing:
        raise RuntimeError(f"{', '.join(missing)}: not there; `make e2e` sets them up")
    return tmp_path_factory.mktemp("lane")


@pytest.fixture(scope="session")
def application(workplace: Path) -> Path:
    """The application's modules in a folder of their own, as the lane will change them."""
    folder = workplace / "application"
    shutil.copytree(HERE / "application", folder, ignore=shutil.ignore_patterns("__pycache__", "edits_later.py"))
    shutil.copy(ROOT / "tests" / "seed" / "page.py", folder / "page.py")
    sys.path.insert(0, str(folder))
    return folder


@pytest.fixture(scope="session")
def emulator(workplace: Path) -> Iterator[Emulator]:
    made = Emulator(workplace / "emulator.log", auth=True)
    made.start()
    try:
        administrator(made, "s3").create_bucket(Bucket=ARTIFACTS)
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="session")
def repository(emulator: Emulator, workplace: Path, application: Path) -> Stack:
    """This repository, deployed."""
    stack = Stack(emulator, "lane", ROOT, application, workplace / "build")
    with MEASURED.scenario(emulator, "sam build"):
        stack.build()
    with MEASURED.scenario(emulator, "sam deploy"):
        stack.deploy()
    return stack


@pytest.fixture(scope="session")
def credentials(repository: Stack) -> dict[str, str]:
    return laptop(repository)


@pytest.fixture(scope="session")
def background(repository: Stack, credentials: dict[str, str], workplace: Path) -> Iterator[Background]:
    """What takes minutes, begun before everything else."""
    folder = workplace / "background"
    folder.mkdir()
    made = Background(repository, folder)
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in credentials.items():
            monkeypatch.setenv(name, value)
        made.begin()
    yield made
    made.end()


@pytest.fixture
def stack(
    repository: Stack, credentials: dict[str, str], background: Background, monkeypatch: pytest.MonkeyPatch
) -> Stack:
    """The stack, with a user's credentials in the environment."""
    for name, value in credentials.items():
        monkeypatch.setenv(name, value)
    return repository


@pytest.fixture(scope="session")
def measured() -> Measured:
    return MEASURED
