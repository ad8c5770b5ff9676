"""The `polos` command. Imports nothing of the extra `cli` before it is known to be there."""

from __future__ import annotations

import importlib.util
import os
import sys

from polos.cli import standard_output

_NEEDED = ("typer", "rich", "watchfiles")
_INTERRUPTED = 130


def main() -> None:
    """Run the command that the arguments name. Exits with the codes that `polos --help` lists."""
    standard_output.prepare()
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(
            f"polos: the command line needs {' and '.join(missing)}; install it with: pip install 'polos-aws[cli]'",
            file=sys.stderr,
        )
        raise SystemExit(2)
    try:
        from polos.cli.commands import application

        application()
    except KeyboardInterrupt:  # before a command has begun; commands have their own answer to it
        print("polos: interrupted.", file=sys.stderr)
        os._exit(_INTERRUPTED)
    except SystemExit as end:
        if end.code == _INTERRUPTED:  # a step that runs in a thread would hold the process until it ends
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(_INTERRUPTED)
        raise
