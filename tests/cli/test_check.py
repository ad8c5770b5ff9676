"""SPEC 11: `polos check` as a command; `test_check_corpus.py` has what it finds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from typer.testing import Result

Polos = Callable[..., Result]
LATE = """import time
from polos import workflow

@workflow
async def late(ctx):
    return time.time()
"""


def test_check_tells_file_and_line_and_exits_1(polos: Polos, place: Path) -> None:
    (place / "late.py").write_text(LATE, encoding="utf-8")
    for given in ("late.py", "late", "."):
        told = polos("check", given)
        assert (told.exit_code, told.stdout.partition(" ")[0]) == (1, "late.py:6:")
    shown = json.loads(polos("check", "late.py", "greetings:hello", "--json").stdout)
    assert (shown["files"], [(one["line"], one["rule"]) for one in shown["findings"]]) == (2, [(6, "clock")])


def test_check_of_good_code_exits_0_and_imports_nothing(polos: Polos, place: Path) -> None:
    with (place / "greetings.py").open("a", encoding="utf-8") as file:
        file.write("\nraise SystemExit(7)\n")
    checked = polos("check")
    assert (checked.exit_code, checked.stdout) == (0, "")
    assert "1 file checked, nothing found" in checked.stderr


def test_check_tells_what_it_cannot_read(polos: Polos, place: Path) -> None:
    (place / "typo.py").write_text("x = (\n", encoding="utf-8")
    told = polos("check", "typo.py")
    assert (told.exit_code, told.stdout.partition(" ")[0]) == (1, "typo.py:1:")
    assert polos("check", "no_such_module").exit_code == 2
    assert polos("check", "no/such.py").exit_code == 2
