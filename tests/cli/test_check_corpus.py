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
APPLICATION = CORPUS / "application"
REPOSITORY = HERE.parent.parent
_EXPECTED = re.compile(r"# expect: (\w+)")


def expected(path: Path) -> list[tuple[int, str]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [(number, rule) for number, line in enumerate(lines, 1) for rule in _EXPECTED.findall(line)]


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_every_marked_line_is_found_and_no_other(path: Path) -> None:
    assert [(one.line, one.rule) for one in check_files([path])] == expected(path)


@pytest.mark.parametrize("given", [APPLICATION / "shop" / "flows.py", APPLICATION], ids=["file", "folder"])
def test_what_a_body_calls_in_other_modules_of_the_application_is_found_there(given: Path) -> None:
    paths = [given] if given.is_file() else list(files_in(given))
    found = {(Path(one.file).name, one.line, one.rule) for one in check_files(paths)}
    marked = {(path.name, *one) for path in files_in(APPLICATION) for one in expected(path)}
    assert found == marked


def test_files_are_named_as_they_were_given_or_from_the_working_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(APPLICATION)
    assert {one.file for one in check_files([Path("shop/flows.py")])} == {
        "shop/flows.py",
        "shop/notices.py",
        "shop/pricing.py",
    }


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_there_is_no_false_alarm_in_good_code(path: Path) -> None:
    assert check_files([path]) == []


def test_the_examples_of_this_repository_are_clean() -> None:
    assert check_files(files_in(REPOSITORY / "examples")) == []


def test_the_blocks_of_the_guides_are_clean(tmp_path: Path) -> None:
    pages = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
    for page in pages:
        blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
        for number, block in enumerate(blocks, 1):
            (tmp_path / f"{page.stem.replace('-', '_')}_{number}.py").write_text(block, encoding="utf-8")
    found = list(files_in(tmp_path))
    assert len(found) > 40
    assert check_files(found) == []
