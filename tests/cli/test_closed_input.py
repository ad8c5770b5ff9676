"""A command that is started without a standard input, as `<&-` in a shell does."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("cancel --workflow hello", "--yes"),
        ("run hello --app greetings.py --input @-", "Standard input cannot be read: it is closed"),
    ],
)
def test_a_command_that_would_ask_or_read_says_that_it_cannot(place: Path, line: str, said: str) -> None:
    polos = shlex.join([sys.executable, "-c", "from polos.cli.entry import main; main()"])
    start = (
        f'{polos} run hello --app greetings.py --input \'{{"name":"Ada"}}\' --no-wait >/dev/null; {polos} {line} <&-'
    )

    done = subprocess.run(["/bin/sh", "-c", start], cwd=place, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
