"""A stack that the registrar deploys: the code of its functions, and what its requests are answered."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from polos.aws.default_bus import EventBridgeDefaultBus
from polos.aws.recurrences import SchedulerRecurrences
from polos.aws.registrar import Registrar
from polos.engine.registration import Targets
from polos.testing.moto_account import MotoAccount
from tests.aws.cloudformation import AnswerBox, RegistrarContext, request

DAILY = 'from polos import workflow\n@workflow(schedule="0 8 * * *")\nasync def daily(ctx): ...\n'
HOURLY = 'from polos import workflow\n@workflow(schedule="0 * * * *")\nasync def hourly(ctx): ...\n'
UPLOADS = """
from polos import EventPattern, workflow
@workflow(trigger_on_event=EventPattern({"source": ["aws.s3"]}))
async def uploads(ctx): ...
"""
UNSCHEDULED = "from polos import workflow\n@workflow\nasync def daily(ctx): ...\n"


class Deployment:
    """The stack of a test, and the code that its functions have."""

    def __init__(self, account: MotoAccount, directory: Path, box: AnswerBox) -> None:
        self.account, self.directory, self.box = account, directory, box
        self.targets = Targets(
            SchedulerRecurrences(account.runtime, account.settings),
            EventBridgeDefaultBus(account.runtime, account.settings),
        )

    def code(self, source: str) -> None:
        (self.directory / "shop.py").write_text(textwrap.dedent(source))

    def call(
        self, kind: str, *, seconds: float = 110, import_seconds: float = 30, memory: int = 4096, **more: Any
    ) -> dict[str, Any]:
        """One request; the answer to it."""
        registrar = Registrar(lambda: self.targets, self.account.clock, import_seconds=import_seconds)
        registrar.handle(request(kind, self.box.url, **more), RegistrarContext(seconds, memory))
        return self.box.answers[-1]

    @property
    def rules(self) -> dict[str, str]:
        return {one.workflow_id: one.pattern for one in self.targets.default_bus.list()}

    @property
    def schedules(self) -> dict[str, str]:
        return {one.workflow_id: one.cron for one in self.targets.recurrences.list()}


RAISES = """
    def deep():
        raise RuntimeError("no database")
    deep()
"""


def failed(deployment: Deployment, source: str, **options: Any) -> str:
    """Deploy, then deploy code that fails; the reason."""
    deployment.code(DAILY)
    deployment.call("Create")
    deployment.code(source)
    answer = deployment.call("Update", version=2, before=1, **options)
    assert answer["Status"] == "FAILED"
    assert deployment.schedules == {"daily": "0 8 * * *"}  # as before
    assert len(deployment.box.bodies[-1]) <= 4096
    assert "us-east-1.console.aws.amazon.com/cloudwatch" in answer["Reason"]
    return str(answer["Reason"])
