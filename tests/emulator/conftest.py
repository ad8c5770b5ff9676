"""The lane: this repository and a project made by `polos init`, deployed by SAM to emulators and driven from outside.

`make e2e` runs it: every main scenario on both, on an emulator that enforces the policies of roles and users, where a
client has the permissions of the stack's client policy and no others, and on one that does not. Each emulator has a
process of pytest to itself; the packages that are deployed are built once for both.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, cast

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.emulator.background import Background
from tests.emulator.deployments import Deployments
from tests.emulator.packages import HERE, SAM, Packages
from tests.emulator.places import EVERYWHERE, Place
from tests.emulator.server import ROOT
from tests.emulator.stack import Stack
from tests.emulator.table import Line, Measured

MEASURED = Measured()
ORDER = (  # the deaths end about when the rest is done; code is changed when nothing else is under way
    "test_command_line",
    "test_project",
    "test_dead_letters",
    "test_main",
    "test_killing",
    "test_deaths",
    "test_redeploying",
    "test_deleting",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    lane = [cast("pytest.Function", item) for item in items if HERE in item.path.parents]
    for item in lane:
        item.add_marker(pytest.mark.emulator)
        item.add_marker(pytest.mark.timeout(400))
    lane.sort(key=lambda item: (ORDER.index(item.path.stem), EVERYWHERE.index(_place(item))))
    items[:] = [item for item in items if item not in lane] + cast("list[pytest.Item]", lane)


class ByEmulator(LoadScopeScheduling):
    """What runs on one emulator is for one process, in order."""

    def _split_scope(self, nodeid: str) -> str:
        return next(place.emulator for place in EVERYWHERE if nodeid.endswith(f"{place}]"))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByEmulator:
    return ByEmulator(config, log)


def _place(item: pytest.Function) -> Place:
    return cast("Place", item.callspec.params["stack"])


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process that works on one emulator hands its lines to the one that prints the table."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["lines"] = [line.plain() for line in MEASURED.lines]


def pytest_testnodedown(node: Any) -> None:
    MEASURED.lines += [Line.of(line) for line in getattr(node, "workeroutput", {}).get("lines", [])]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if MEASURED.lines:
        terminalreporter.section("scenarios")
        for line in MEASURED.report():
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def deployments(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Deployments]:
    missing = [str(path) for path in (SAM, ROOT / ".venv-emulator") if not path.exists()]
    if missing:
        raise RuntimeError(f"{', '.join(missing)}: not there; `make e2e` sets them up")
    workplace = tmp_path_factory.mktemp("lane")
    common = workplace if worker_id == "master" else tmp_path_factory.getbasetemp().parent
    packages = Packages(common, MEASURED)
    sys.path.insert(0, str(packages.modules()))
    made = Deployments(workplace, packages, MEASURED)
    yield made
    made.end()


@pytest.fixture
def stack(request: pytest.FixtureRequest, deployments: Deployments, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """A stack, with its user's credentials in the environment. Each test says at which places (`places.on`)."""
    stack = deployments.at(request.param)
    for name, value in stack.credentials.items():
        monkeypatch.setenv(name, value)
    return stack


@pytest.fixture
def packages(deployments: Deployments) -> Packages:
    return deployments.packages


@pytest.fixture
def background(stack: Stack, deployments: Deployments) -> Background:
    return deployments.background


@pytest.fixture(scope="session")
def measured() -> Measured:
    return MEASURED
