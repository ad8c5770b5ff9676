"""The list of commands."""

from __future__ import annotations

from importlib import metadata
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from polos.cli import holding, scheduling, steering
from polos.cli.checks import check
from polos.cli.creating import init
from polos.cli.dev import dev
from polos.cli.doctoring import doctor
from polos.cli.forking import fork
from polos.cli.listing import list_executions
from polos.cli.outcome import EXIT_CODES, stdout
from polos.cli.reasons import why
from polos.cli.running import run
from polos.cli.sending import publish, resume
from polos.cli.showing import show
from polos.cli.watching import watch


class _Command(TyperCommand):
    """Shows an argument that must be given by its bare name; newer versions of typer put it into braces."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]


class _Commands(typer.Typer):
    def command(self, name: str | None = None, **options: Any) -> Any:
        return super().command(name, cls=_Command, **options)


application = _Commands(
    name="polos",
    help=f"Durable workflows: run them, look at them, and tell them things.\n\n{EXIT_CODES}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        stdout().print(f"polos-aws {metadata.version('polos-aws')}")
        raise typer.Exit


@application.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None: ...


application.command("init")(init)
application.command("dev")(dev)
application.command("run")(run)
application.command("list")(list_executions)
application.command("show")(show)
application.command("why")(why)
application.command("watch")(watch)
application.command("publish")(publish)
application.command("resume")(resume)
application.command("cancel")(steering.cancel)
application.command("terminate")(steering.terminate)
application.command("retry")(steering.retry)
application.command("fork")(fork)
application.command("pause")(steering.pause)
application.command("unpause")(steering.unpause)
application.command("check")(check)
application.command("doctor")(doctor)

schedules = _Commands(help="Create schedules, look at them, pause, resume and delete them.", no_args_is_help=True)
schedules.command("list")(scheduling.list_schedules)
schedules.command("create")(scheduling.create)
schedules.command("pause")(scheduling.pause)
schedules.command("resume")(scheduling.resume)
schedules.command("delete")(scheduling.delete)
application.add_typer(schedules, name="schedules")

queues = _Commands(help="Pause all executions of a queue, and unpause them.", no_args_is_help=True)
queues.command("list")(holding.list_queues)
queues.command("pause")(holding.pause_queue)
queues.command("unpause")(holding.unpause_queue)
application.add_typer(queues, name="queues")

workflows = _Commands(help="Pause all executions of a workflow, and unpause them.", no_args_is_help=True)
workflows.command("list")(holding.list_workflows)
workflows.command("pause")(holding.pause_workflow)
workflows.command("unpause")(holding.unpause_workflow)
application.add_typer(workflows, name="workflows")
