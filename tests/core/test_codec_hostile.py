"""Hostile text is a value or a `SerializationError`, and neither imports nor runs anything (SPEC 12)."""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polos.core.codec import decode
from polos.errors import SerializationError
from tests.core.codec_values import MODULE, Address

TAGS = """dict tuple set frozenset int float bytes bytearray datetime date time timedelta zone uuid decimal path
    model dataclass enum namedtuple HttpUrl IPv4Address nonsense"""


tags = st.sampled_from(TAGS.split())


names = st.sampled_from(
    [f"{MODULE}:{name}" for name in ("Order", "Point", "Colour", "Right", "Pair", "Page", "Failed", "Outer", "enum")]
) | st.sampled_from(["os:path", "subprocess:Popen", "builtins:eval", "http:HTTPStatus", ":", "nowhere:X"])


raw = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | names | tags


def hostile(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    operand = inner | st.lists(inner, max_size=3) | names
    fields = st.dictionaries(
        st.sampled_from(["id", "x", "left", "items", "next", "__class__", "__dict__"]), inner, max_size=3
    )
    return (
        st.lists(inner)
        | st.dictionaries(st.just("$") | st.text(), inner)
        | st.fixed_dictionaries(
            {"$": tags | inner},
            optional={
                "v": operand,
                "k": operand,
                "of": names | st.lists(names | st.sampled_from(["int", "|", "list"]), max_size=3) | inner,
                "fields": fields | inner,
                "set": operand,
                "extra": fields | inner,
                "private": fields | inner,
                "zone": st.sampled_from(["Europe/Berlin", "../../etc/passwd", "US", "a.b/c", "/"]) | inner,
                "fold": inner,
                "name": inner,
            },
        )
    )


@given(st.recursive(raw, hostile, max_leaves=12))
def test_12_hostile_json_is_a_value_or_a_serialization_error(tree: object) -> None:
    modules = set(sys.modules)
    try:
        decode(json.dumps(tree))
    except SerializationError as error:
        where = error.path
    else:
        where = "$"
    assert where.startswith("$")
    assert {name for name in set(sys.modules) - modules if not name.startswith("tzdata")} == set()


@given(st.text() | st.binary())
def test_12_any_text_is_a_value_or_a_serialization_error(text: str | bytes) -> None:
    try:
        decode(text)
    except SerializationError:
        return


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "NaN",
        "-Infinity",
        "[1,]",
        "9" * 5000,
        b"\xff",
        "[" * 201 + "]" * 201,
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"$":"tuple","v":[' * 201 + "]}" * 201,
        '{"$":1}',
        '{"$":"tuple"}',
        '{"$":"set","v":[[]]}',
        '{"$":"dict","k":[[]],"v":[1]}',
        '{"$":"dict","k":[1],"v":[]}',
        '{"$":"float","v":"1.5"}',
        '{"$":"bytes","v":"!"}',
        '{"$":"decimal","v":"x"}',
        '{"$":"timedelta","v":[1e9,0,0]}',
        '{"$":"timedelta","v":[9999999999,0,0]}',
        '{"$":"datetime","v":"2024-01-01","zone":"../x"}',
        '{"$":"datetime","v":"2024-01-01","zone":"No/Where"}',
        '{"$":"datetime","v":"2024-01-01","fold":7}',
        '{"$":"enum","of":"http:HTTPStatus","v":"OK"}',
        '{"$":"dataclass","of":"subprocess:Popen","fields":{}}',
        '{"$":"model","of":["a"],"fields":{}}',
        json.dumps({"$": "model", "of": f"{MODULE}:Point", "fields": {}}),
        json.dumps({"$": "dataclass", "of": f"{MODULE}:Failed", "fields": {"why": "x"}}),
        json.dumps({"$": "enum", "of": f"{MODULE}:Colour", "v": "BLUE"}),
        json.dumps({"$": "enum", "of": f"{MODULE}:Colour", "v": "__class__"}),
        json.dumps({"$": "enum", "of": f"{MODULE}:Right", "v": 64}),
        json.dumps({"$": "model", "of": [f"{MODULE}:Address", "int"], "fields": {}}),
        json.dumps({"$": "model", "of": f"{MODULE}:enum", "fields": {}}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_12_malformed_records_are_refused(text: str | bytes) -> None:
    with pytest.raises(SerializationError):
        decode(text)


def test_12_a_record_of_a_newer_version_says_so() -> None:
    with pytest.raises(SerializationError, match="newer version") as caught:
        decode('[{"a":{"$":"quaternion","v":1}}]', step_key="s")
    assert (caught.value.path, caught.value.step_key) == ("$[0].a", "s")


def test_data_never_imports_or_runs_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "never_imported.py").write_text("raise SystemExit")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SerializationError, match="not imported"):
        decode('{"$":"model","of":"never_imported:X","fields":{}}')
    lazy = types.ModuleType("lazy_module")
    asked: list[str] = []
    lazy.__getattr__ = asked.append  # type: ignore[method-assign,assignment]
    monkeypatch.setitem(sys.modules, "lazy_module", lazy)
    with pytest.raises(SerializationError, match="top level"):
        decode('{"$":"model","of":"lazy_module:X","fields":{}}')
    assert "X" not in asked
    spec = importlib.util.find_spec("never_imported")
    assert spec is not None
    assert spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    postponed = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(postponed)
    monkeypatch.setitem(sys.modules, "never_imported", postponed)
    with pytest.raises(SerializationError, match="top level"):
        decode('{"$":"model","of":"never_imported:X","fields":{}}')


def test_a_name_that_a_module_only_borrows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    borrower = types.ModuleType("borrower")
    borrower.Address = Address  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "borrower", borrower)
    with pytest.raises(SerializationError, match="defines"):
        decode('{"$":"model","of":"borrower:Address","fields":{"street":"s"}}')
