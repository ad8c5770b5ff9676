"""The list of commands."""

from __future__ import annotations

import typer

from polos.cli.dev import dev
from polos.cli.listing import list_executions
from polos.cli.outcome import EXIT_CODES
from polos.cli.running import run
from polos.cli.sending import cancel, publish, resume
from polos.cli.showing import show

application = typer.Typer(
    name="polos",
    help=f"Durable workflows: run them, look at them, and tell them things.\n\n{EXIT_CODES}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
application.command("dev")(dev)
application.command("run")(run)
application.command("list")(list_executions)
application.command("show")(show)
application.command("publish")(publish)
application.command("resume")(resume)
application.command("cancel")(cancel)
