"""The commands that the README of a project names: what `polos init` says to do next."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.emulator.packages import Packages
from tests.emulator.places import PROJECT_PLAIN, on
from tests.emulator.server import POLOS, run
from tests.emulator.stack import Stack
from tests.emulator.table import Measured

pytestmark = on(PROJECT_PLAIN)
APP = ("--app", "app/workflows.py")


def test_the_commands_of_its_readme(stack: Stack, packages: Packages, measured: Measured) -> None:
    def call(*arguments: str) -> str:
        environment = stack.credentials | {"PATH": str(Path(sys.executable).parent)}
        return run(str(POLOS), *arguments, "--stack", stack.name, cwd=packages.project(), environment=environment)

    with measured.scenario(stack, "polos run, list, why, resume"):
        small = call("run", "order", *APP, "--input", '{"item": "kettle", "amount": 42}')
        assert small.splitlines()[-1] == '"shipped by reservation of kettle"'

        large = '{"item": "oven", "amount": 900}'
        started = json.loads(call("run", "order", *APP, "--input", large, "--no-wait", "--json"))
        execution_id = started["execution_id"]
        while "waiting" not in call("list", "--status", "waiting", "--json"):
            pass
        assert "waits for" in call("why", execution_id)
        call("resume", execution_id, "approve", '{"approved": true}')
        assert "shipped by reservation of oven" in call("watch", execution_id)
