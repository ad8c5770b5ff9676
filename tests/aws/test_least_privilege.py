"""Each role may do what its code does and nothing else: the requests of every act, against the template (SPEC 8.9).

The driver (tests/aws/acts.py) does everything that a role's code can do; each role's requests are noted under its own
clients. A permission that is missing, or that nothing used, is named. What a service asks for by itself (a key, X-Ray)
is not looked at here.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from polos import Polos
from polos.aws.settings import Settings
from polos.engine import retention
from polos.testing import Environment
from polos.testing.moto_template import REGION
from tests.aws.acts import (
    BY_OTHER_PERMISSIONS,
    CLIENT_ACTS,
    NOT_OF_A_STACK,
    deployments,
    every_act_of_the_functions,
    open_ones_are_kept,
)
from tests.aws.permissions import Need
from tests.aws.roles import FUNCTIONS, RESOURCES, WORKFLOWS, Stack, child


def on_a_stack(run: Callable[[Stack], Any]) -> None:
    async def main() -> None:
        async with Environment("moto", workflows=WORKFLOWS) as env:
            await run(Stack(env))

    asyncio.run(main())


@pytest.mark.timeout(180)  # it does everything that there is to do
def test_the_functions_may_do_what_their_code_does_and_nothing_else() -> None:
    async def run(stack: Stack) -> None:
        await every_act_of_the_functions(stack)
        for role, resource in (("work", "WorkRole"), ("events", "EventsRole"), ("dead_letters", "DeadLettersRole")):
            missing, unused = stack.check(role, resource)
            assert missing == [], f"{resource} lacks"
            assert unused == [], f"{resource} has and does not use"

    on_a_stack(run)


def test_the_registrar_may_do_what_deployments_ask_for_and_nothing_else() -> None:
    async def run(stack: Stack) -> None:
        deployments(stack)
        missing, unused = stack.check("registrar", "RegistrarRole")
        assert missing == [], "RegistrarRole lacks"
        assert unused == [], "RegistrarRole has and does not use"

    on_a_stack(run)


def test_the_maintenance_may_keep_what_is_open_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_YEARS", 1)  # ten years of months take moto a second

    async def run(stack: Stack) -> None:
        await open_ones_are_kept(stack)
        missing, unused = stack.check("maintenance", "MaintenanceRole")
        assert missing == [], "MaintenanceRole lacks"
        assert unused == [], "MaintenanceRole has and does not use"

    on_a_stack(run)


def test_every_role_of_a_function_is_held() -> None:
    assert {"work", "events", "dead_letters", "maintenance", "registrar"} == set(FUNCTIONS)


def test_a_client_may_do_what_its_methods_do_and_nothing_else() -> None:
    async def run(stack: Stack) -> None:
        for one in dict.fromkeys(CLIENT_ACTS.values()):
            await one(stack)
        stack.of("client").needs |= settings_of_a_stack(stack)
        missing, unused = stack.check("client", "ClientPolicy")
        assert missing == [], "ClientPolicy lacks"
        assert unused == [], "ClientPolicy has and nothing uses"

    on_a_stack(run)


def settings_of_a_stack(stack: Stack) -> set[Need]:
    """What finding the stack by its name needs."""
    clients = stack.of("finding")

    class Session:
        """Makes clients that note what they need."""

        def client(self, service: str, **_: Any) -> Any:
            return clients.of(service)

    Settings.from_stack(stack.account.stack, REGION, session=Session())
    return clients.needs


def test_every_method_of_a_client_is_among_the_acts() -> None:
    methods = {
        name
        for name, method in inspect.getmembers(Polos, inspect.isfunction)
        if not name.startswith("_")
        and (inspect.iscoroutinefunction(method) or "AsyncIterator" in method.__annotations__["return"])
    }
    assert methods - NOT_OF_A_STACK - BY_OTHER_PERMISSIONS == set(CLIENT_ACTS)


@pytest.mark.parametrize(
    ("change", "said"),
    [("lacks", "dynamodb:PutItem on arn:aws:dynamodb"), ("has too much", "Spare: sqs:PurgeQueue on *")],
)
def test_the_check_names_what_is_wrong(change: str, said: str) -> None:
    async def run(stack: Stack) -> None:
        await stack.env.finish(await stack.env.start(child, 1))
        role = RESOURCES["WorkRole"]
        (policy,) = role["Properties"]["Policies"]
        statements = policy["PolicyDocument"]["Statement"]
        if change == "lacks":
            changed = [one for one in statements if one.get("Sid") != "Records"]
        else:
            spare = {"Sid": "Spare", "Effect": "Allow", "Action": "sqs:PurgeQueue", "Resource": "*"}
            changed = [*statements, spare]
        mutant = {**role, "Properties": {"Policies": [{"PolicyDocument": {"Statement": changed}}]}}
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(RESOURCES, "WorkRole", mutant)
            missing, unused = stack.check("work", "WorkRole")
        assert any(one.startswith(said) for one in (missing if change == "lacks" else unused))

    on_a_stack(run)
