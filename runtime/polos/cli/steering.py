"""`polos cancel`, `terminate`, `retry`, `pause`, `unpause`: one execution, or all that a filter finds."""

from __future__ import annotations

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


_CANCEL = Act("cancel", "asked {} to stop", OPEN, _cancel, descends=True)
_TERMINATE = Act("terminate", "asked {} to end at once", OPEN, Polos.terminate, descends=True)
_RETRY = Act("retry", "retrying {} from the last good step", MENDABLE, Polos.retry, descends=True)
_PAUSE = Act("pause", "paused {}", OPEN, Polos.pause)
_UNPAUSE = Act("unpause", "unpaused {}", OPEN, Polos.unpause)


@command
async def cancel(
    execution_id: OneOrNone = None,
    workflow: OfWorkflow = None,
    status: InStatus = None,
    yes: Yes = False,
    app: App = None,
    stack: Stack = None,
    local: Local = None,
    as_json: Json = False,
) -> None:
    """Ask executions to stop, after their cleanup.

    It reaches their children too.
    """
    await _steer(_CANCEL, Choice(execution_id, workflow, status), app, stack, local, yes=yes, as_json=as_json)


@command
async def terminate(
    execution_id: OneOrNone = None,
    workflow: OfWorkflow = None,
    status: InStatus = None,
    yes: Yes = False,
    app: App = None,
    stack: Stack = None,
    local: Local = None,
    as_json: Json = False,
) -> None:
    """End executions at once, without cleanup.

    It reaches their children too.
    """
    await _steer(_TERMINATE, Choice(execution_id, workflow, status), app, stack, local, yes=yes, as_json=as_json)


@command
async def retry(
    execution_id: OneOrNone = None,
    workflow: OfWorkflow = None,
    status: InStatus = None,
    yes: Yes = False,
    app: App = None,
    stack: Stack = None,
    local: Local = None,
    as_json: Json = False,
) -> None:
    """Go on from the last good step of failed ones.

    With the code as it is now. On the local backend a running `polos dev` takes them up.
    """
    await _steer(_RETRY, Choice(execution_id, workflow, status), app, stack, local, yes=yes, as_json=as_json)


@command
async def pause(
    execution_id: OneOrNone = None,
    workflow: OfWorkflow = None,
    status: InStatus = None,
    yes: Yes = False,
    app: App = None,
    stack: Stack = None,
    local: Local = None,
    as_json: Json = False,
) -> None:
    """Let executions start nothing new for now.

    Steps that run end, children are not paused; `polos unpause` lets them go on.
    """
    await _steer(_PAUSE, Choice(execution_id, workflow, status), app, stack, local, yes=yes, as_json=as_json)


@command
async def unpause(
    execution_id: OneOrNone = None,
    workflow: OfWorkflow = None,
    status: InStatus = None,
    yes: Yes = False,
    app: App = None,
    stack: Stack = None,
    local: Local = None,
    as_json: Json = False,
) -> None:
    """Let paused executions go on.

    For one that is not paused it changes nothing.
    """
    await _steer(_UNPAUSE, Choice(execution_id, workflow, status), app, stack, local, yes=yes, as_json=as_json)


async def _steer(
    act: Act, choice: Choice, app: str | None, stack: str | None, local: str | None, *, yes: bool, as_json: bool
) -> None:
    choice.check(act)
    connection = Connection.chosen(stack, local)
    connection.needs_file()
    load_application(app)
    await act_on(connection, choice, act, yes=yes, as_json=as_json)
