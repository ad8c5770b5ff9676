"""SPEC 11: `polos check` finds what is marked in the bad corpus, line by line, and nothing in good code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from polos.cli.checking.checker import check_files
from polos.cli.checking.findings import files_in

HERE = Path(__file__).parent
CORPUS = HERE / "check_corpus"
BAD, GOOD = sorted((CORPUS / "bad").glob("*.py")), sorted((CORPUS / "good").glob("*.py"))
REPOSITORY = HERE.parent.parent
_EXPECTED = re.compile(r"# expect: (\w+)")


def expected(path: Path) -> list[tuple[int, str]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [(number, rule) for number, line in enumerate(lines, 1) for rule in _EXPECTED.findall(line)]


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_every_marked_line_is_found_and_no_other(path: Path) -> None:
    assert [(one.line, one.rule) for one in check_files([path])] == expected(path)


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_there_is_no_false_alarm_in_good_code(path: Path) -> None:
    assert check_files([path]) == []


def test_the_examples_of_this_repository_are_clean() -> None:
    assert check_files(files_in(REPOSITORY / "examples")) == []
