"""SPEC 5, 8.2: whoever may put events on the bus makes nothing but events of them, and none that is too large."""

from __future__ import annotations

import base64
import contextlib
import json
import tracemalloc
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polos.aws import records
from polos.engine import commands
from polos.engine.worker import Worker
from polos.errors import InvalidPayloadError
from polos.ports import Message
from polos.testing import Environment

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda part: st.one_of(st.lists(part, max_size=3), st.dictionaries(st.text(max_size=8), part, max_size=3)),
    max_leaves=12,
)
COMMANDS = st.sampled_from(["start", "wake", "resume", "cancel", "retry", "unpause", "batch", "tick"])


@given(text=st.one_of(st.text(), JSON.map(json.dumps), st.binary().map(lambda data: data.decode("latin-1"))))
def test_12_any_body_of_a_queue_is_a_message_or_refused(text: str) -> None:
    for role in (None, *sorted(records.ROLES)):
        with contextlib.suppress(InvalidPayloadError):
            assert isinstance(records.message_of(text, role), dict)


@given(kind=COMMANDS, envelope=st.dictionaries(st.sampled_from(["t", "x", "wf", "source", "id"]), JSON, max_size=3))
def test_5_no_event_of_the_bus_is_a_command(kind: str, envelope: dict[str, Any]) -> None:
    command = {"t": kind, "x": "somebody", "wf": "work", "k": "approval", "v": "true", "mode": "terminate", "n": 1}
    with contextlib.suppress(InvalidPayloadError):  # one of another source may trigger what has a pattern for it
        found = records.message_of(json.dumps({"source": "polos", **envelope, "detail": command}), None)
        assert found.keys() == {"t", "event"}
        assert found["t"] == "native"


@given(fields=st.dictionaries(st.sampled_from(["id", "tp", "sq", "ty", "v", "vz", "vp", "x", "wf", "k"]), JSON))
def test_12_any_event_is_read_or_refused(fields: dict[str, Any]) -> None:
    with contextlib.suppress(InvalidPayloadError):
        event = commands.read_event({"t": "event", "id": "e", "tp": "t", "sq": 1, **fields})
        assert 0 <= event.sequence < 1 << 63
        assert event.topic


def test_12_a_decompression_bomb_in_an_event_is_refused_before_it_fills_the_memory() -> None:
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(b" " * 1_000_000) for _ in range(400)) + packer.flush()  # 400 MB in 0.4 MB
    body = {"t": "event", "id": "bomb", "tp": "t", "sq": 1, "vz": base64.b64encode(bomb).decode()}
    environment = Environment(workflows=[])
    try:
        worker = Worker(environment.harness.engine)
        tracemalloc.start()
        with pytest.raises(InvalidPayloadError, match="bomb"):
            worker.handle(Message("bomb", body, 1, lambda _: None))
        assert tracemalloc.get_traced_memory()[1] < 200_000_000
    finally:
        tracemalloc.stop()
        environment.close()
