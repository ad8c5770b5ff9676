"""The executions that a command acts on: one by its id, or all that a filter finds, after saying how many."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer

from polos.cli.connection import Connection
from polos.cli.outcome import Interrupted, print_json, stderr, stdout
from polos.cli.standard_input import ask
from polos.client import Polos
from polos.errors import ExecutionNotFoundError, ExecutionStateError, UsageError

OPEN: Final = ("queued", "running", "waiting")
MENDABLE: Final = ("failed",)
_PAGE = 500
_UNCHANGED = "nothing was changed."

OneOrNone = Annotated[str | None, typer.Argument(metavar="ID", help="The execution's id; or else give a filter.")]
OfWorkflow = Annotated[
    str | None, typer.Option("--workflow", metavar="ID", help="All executions of this workflow, after asking.")
]
InStatus = Annotated[str | None, typer.Option("--status", metavar="STATUS", help="All in this status, after asking.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]


@dataclass(frozen=True, slots=True)
class Act:
    """What is done to each. `statuses` are those in which it can be done; it also reaches children if it `descends`."""

    name: str
    done: str
    statuses: tuple[str, ...]
    call: Callable[[Polos, str], Awaitable[Any]]
    descends: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """One id, or a filter. Raises `UsageError` unless it is exactly one of them, and one that can match."""

    execution_id: str | None
    workflow: str | None
    status: str | None

    def check(self, act: Act) -> None:
        filtered = self.workflow is not None or self.status is not None
        if (self.execution_id is None) != filtered:
            what = "an ID, or --workflow or --status" + (", not both" if filtered else "")
            raise UsageError(f"Which execution? polos {act.name} takes {what}.")
        if self.status is not None and self.status not in act.statuses:
            raise UsageError(f"{act.name} is not possible in the status {self.status!r}, only in {_or(act.statuses)}.")


async def act_on(connection: Connection, choice: Choice, act: Act, *, yes: bool, as_json: bool) -> None:
    """Do it to one, which must be possible; or to all that match, of which some may have moved on meanwhile."""
    async with connection.client() as polos:
        if choice.execution_id is not None:
            await act.call(polos, choice.execution_id)
            if as_json:
                print_json({"execution_id": choice.execution_id})
            else:
                stdout().print(f"{act.done.format(choice.execution_id)}")
            return
        found = await _matching(polos, choice, act)
        if found and not yes:
            _ask(act, found, choice)
        results = [await _try(polos, act, execution_id) for execution_id in found]
    _tell(act, results, as_json)


async def _matching(polos: Polos, choice: Choice, act: Act) -> list[str]:
    """Newest first. Where the act reaches children by itself, those of executions that match too are left out."""
    statuses = (choice.status,) if choice.status is not None else act.statuses
    parents: dict[str, str | None] = {}
    cursor: str | None = None
    while True:
        page = await polos.list_executions(
            workflow_id=choice.workflow,
            status=statuses[0] if len(statuses) == 1 else None,
            limit=_PAGE,
            cursor=cursor,
        )
        parents.update({line.id: line.parent_execution_id for line in page if line.status in statuses})
        cursor = page.cursor
        if cursor is None:
            break
    return [one for one, parent in parents.items() if not (act.descends and parent in parents)]


def _ask(act: Act, found: list[str], choice: Choice) -> None:
    of = f" of workflow {choice.workflow}" if choice.workflow is not None else ""
    count = "1 execution" if len(found) == 1 else f"{len(found)} executions"
    status = choice.status or _or(act.statuses)
    stderr().print(f"{count}{of}, {status}, for example {found[0]}")
    question = f"{act.name} {'it' if len(found) == 1 else 'all of them'}? [y/N] "
    answer = ask(question, interrupted=_UNCHANGED)
    if not answer:
        sys.stderr.write("\n")
        raise UsageError("Nothing was changed: nobody is there to ask; give --yes.")
    if answer.strip().lower() not in ("y", "yes"):
        raise Interrupted(_UNCHANGED)


async def _try(polos: Polos, act: Act, execution_id: str) -> dict[str, Any]:
    try:
        await act.call(polos, execution_id)
    except (ExecutionStateError, ExecutionNotFoundError) as error:  # it has moved on since it was listed
        return {"execution_id": execution_id, "done": False, "error": str(error)}
    return {"execution_id": execution_id, "done": True}


def _tell(act: Act, results: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print_json({"executions": results})
        return
    if not results:
        stderr().print("No execution matches; nothing was changed.")
        return
    done = [one for one in results if one["done"]]
    stdout().print(act.done.format("1 execution" if len(done) == 1 else f"{len(done)} executions"))
    for one in results:
        if not one["done"]:
            stderr().print(f"polos: left out: {one['error']}")


def _or(words: tuple[str, ...]) -> str:
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
