"""Recorded failures give back the same error each time (L1, L2, SPEC 2.5)."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polos import errors
from polos.core.failures import MAX_TRACEBACK, Failure
from polos.errors import (
    ChildWorkflowError,
    SerializationError,
    StepExecutionError,
    StepTimeoutError,
)


class RefusedError(StepExecutionError):
    """What user code may derive from ours."""


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


def test_every_error_stands_in_the_tree_of_the_module() -> None:
    own = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.PolosError)]
    drawn = {line.strip(" │├└─").split(" ")[0] for line in (errors.__doc__ or "").splitlines()}
    assert {one.__name__ for one in own} <= drawn


def caught(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as raised:  # noqa: BLE001
        return raised


def stored(failure: Failure) -> Failure:
    return Failure.from_json(json.loads(json.dumps(failure.to_json())))


ERRORS = [
    ValueError("bad"),
    KeyError("k"),
    StepExecutionError("refused"),
    RefusedError("refused"),
    StepExecutionError("other", "ValueError", "bad", 2),
    StepTimeoutError("slow", "TimeoutError", "took over 5 s", 3),
    ChildWorkflowError("child", "e-1", "failed", "ValueError: bad", step_key="s", traceback="theirs"),
    ChildWorkflowError("child", "e-1", "timed_out"),
    SerializationError("The value is a lock.", path="$.items[3].owner"),
    UnprintableError(),
    ExceptionGroup("several", [ValueError("a"), KeyError("b")]),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_l2_the_error_is_the_same_before_and_after_storage(error: Exception) -> None:
    failure = Failure.from_exception(caught(error), attempts=3)
    live, replayed = failure.error("charge"), stored(failure).error("charge")
    assert stored(failure) == failure
    assert type(live) is type(replayed)
    assert str(live) == str(replayed)
    assert vars(live) == vars(replayed)
    assert live is not failure.error("charge")


def test_an_ordinary_exception_keeps_type_message_and_traceback() -> None:
    failure = Failure.from_exception(caught(ValueError("card declined")), attempts=3)
    error = failure.error("charge")
    assert type(error) is StepExecutionError
    assert (error.step_key, error.error_type, error.message, error.attempts) == (
        "charge",
        "ValueError",
        "card declined",
        3,
    )
    assert str(error) == "Step 'charge' failed: ValueError: card declined"
    assert error.traceback is not None
    assert "in caught" in error.traceback
    assert error.traceback.endswith("ValueError: card declined\n")


@pytest.mark.parametrize(
    ("error", "error_type", "message"),
    [
        (StepExecutionError("refused"), "StepExecutionError", "refused"),
        (RefusedError("refused"), "RefusedError", "refused"),
        (StepExecutionError("other", "ValueError", "bad", 2), "ValueError", "bad"),
    ],
)
def test_a_step_error_that_the_callable_raises_keeps_its_own_type(
    error: StepExecutionError, error_type: str, message: str
) -> None:
    found = Failure.from_exception(caught(error), attempts=1).error("charge")
    assert (type(found), found.step_key, found.error_type, found.message) == (
        StepExecutionError,
        "charge",
        error_type,
        message,
    )


def test_a_timeout_comes_back_as_one() -> None:
    found = stored(Failure("TimeoutError", "took over 5 s", None, 2, "timeout")).error("slow")
    assert type(found) is StepTimeoutError
    assert (found.error_type, found.message, found.attempts, found.traceback) == (
        "TimeoutError",
        "took over 5 s",
        2,
        None,
    )


@pytest.mark.parametrize("cause", ["ValueError: bad", "", None])
def test_a_child_comes_back_with_its_fields(cause: str | None) -> None:
    original = ChildWorkflowError("child", "e-1", "timed_out", cause, step_key="s", traceback="theirs")
    found = stored(Failure.from_exception(caught(original), attempts=1)).error("s")
    assert type(found) is ChildWorkflowError
    assert (found.workflow_id, found.execution_id, found.status, found.error) == ("child", "e-1", "timed_out", cause)
    assert str(found) == str(original)
    assert vars(found) == vars(original)


def test_a_value_that_cannot_be_stored_comes_back_with_its_path() -> None:
    original = SerializationError("It is a lock.", path="$.a[0]", step_key="s")
    found = stored(Failure.from_exception(caught(original), attempts=2)).error("s")
    assert type(found) is SerializationError
    assert (found.path, found.message, found.attempts, str(found)) == ("$.a[0]", "It is a lock.", 2, str(original))


def test_errors_survive_a_process_boundary() -> None:
    original = Failure.from_exception(caught(ChildWorkflowError("c", "e", "failed", "x")), 1).error("s")
    copy = pickle.loads(pickle.dumps(original))
    assert (type(copy), str(copy), vars(copy)) == (type(original), str(original), vars(original))


def test_a_long_traceback_keeps_its_end() -> None:
    failure = Failure.from_exception(caught(ValueError("x" * 20_000 + "the end")), attempts=1)
    assert failure.traceback is not None
    assert len(failure.traceback) == MAX_TRACEBACK
    assert failure.traceback.endswith("the end\n")
    assert len(failure.message) == 20_007


def test_a_message_that_cannot_be_shown_or_stored_does_not_stop_the_record() -> None:
    assert Failure.from_exception(caught(UnprintableError()), 1).message == "(its message cannot be shown)"
    failure = Failure.from_exception(caught(ValueError("\ud800")), 1)
    assert failure.message == "\\ud800"
    json.dumps(failure.to_json(), ensure_ascii=False).encode()


def test_the_frames_that_led_to_user_code_are_left_out() -> None:
    engine: dict[str, object] = {"__name__": "polos.engine.worker"}
    exec("def attempt(func):\n    return func()\n", engine)

    def user_code() -> None:
        raise ValueError("mine")

    try:
        engine["attempt"](user_code)  # type: ignore[operator]
    except ValueError as error:
        trimmed = error.with_traceback(error.__traceback__.tb_next if error.__traceback__ else None)
        text = Failure.from_exception(trimmed, 1).traceback
    assert text is not None
    assert "in user_code" in text
    assert "in attempt" not in text


def test_a_failure_of_a_newer_version_says_so() -> None:
    with pytest.raises(SerializationError, match="newer version"):
        Failure.from_json({"type": "E", "message": "m", "attempts": 1, "kind": "quantum"})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(
    json_values
    | st.fixed_dictionaries(
        {},
        optional={
            "type": json_values,
            "message": json_values,
            "attempts": json_values,
            "kind": st.sampled_from(["step", "timeout", "child", "serialization", "x"]) | json_values,
            "fields": json_values,
            "traceback": json_values,
        },
    )
)
def test_a_malformed_failure_is_a_serialization_error(found: object) -> None:
    try:
        failure = Failure.from_json(found)
    except SerializationError:
        return
    assert isinstance(failure.error("k"), StepExecutionError)
    assert Failure.from_json(failure.to_json()) == failure
