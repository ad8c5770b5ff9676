"""`polos cancel`, `terminate`, `retry`, `pause`, `unpause`: one execution, or all that a filter finds."""

from __future__ import annotations

from collections.abc import Callable

from polos.cli.choosing import MENDABLE, OPEN, Act, Choice, InStatus, OfWorkflow, OneOrNone, Yes, act_on
from polos.cli.connection import Connection
from polos.cli.options import App, Json, Local, Stack, load_application
from polos.cli.outcome import command
from polos.client import Polos
from polos.errors import ExecutionStateError


async def _cancel(polos: Polos, execution_id: str) -> None:
    if not await polos.cancel_execution(execution_id):
        detail = await polos.describe(execution_id)
        raise ExecutionStateError(execution_id, detail.status, "cancel")


def _command(act: Act, description: str) -> Callable[..., None]:
    """The command of an act; they all choose their executions alike."""

    async def steer(
        execution_id: OneOrNone = None,
        workflow: OfWorkflow = None,
        status: InStatus = None,
        yes: Yes = False,
        app: App = None,
        stack: Stack = None,
        local: Local = None,
        as_json: Json = False,
    ) -> None:
        choice = Choice(execution_id, workflow, status)
        choice.check(act)
        connection = Connection.chosen(stack, local)
        connection.needs_file()
        load_application(app)
        await act_on(connection, choice, act, yes=yes, as_json=as_json)

    steer.__doc__ = description
    return command(steer)


cancel = _command(
    Act("cancel", "asked {} to stop", OPEN, _cancel, descends=True),
    """Ask executions to stop, after their cleanup.

    It reaches their children too.
    """,
)
terminate = _command(
    Act("terminate", "asked {} to end at once", OPEN, Polos.terminate, descends=True),
    """End executions at once, without cleanup.

    It reaches their children too.
    """,
)
retry = _command(
    Act("retry", "retrying {} from the last good step", MENDABLE, Polos.retry, descends=True),
    """Go on from the last good step of failed ones.

    With the code as it is now. On the local backend a running `polos dev` takes them up.
    """,
)
pause = _command(
    Act("pause", "paused {}", OPEN, Polos.pause),
    """Let executions start nothing new for now.

    Steps that run end, children are not paused; `polos unpause` lets them go on.
    """,
)
unpause = _command(
    Act("unpause", "unpaused {}", OPEN, Polos.unpause),
    """Let paused executions go on.

    For one that is not paused it changes nothing.
    """,
)
