"""CloudFormation's protocol for custom resources: the request, and the answer that is put to its URL.

Facts are from the CloudFormation User Guide, "Custom resource request and response reference": an answer has at most
4096 bytes; `PhysicalResourceId` must stay the same, or CloudFormation takes the resource for a new one and deletes the
old. The URL is presigned for an empty content type. Laws: L11 (an answer that did not arrive is sent again).
"""

from __future__ import annotations

import json
import logging
import os
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from polos.errors import BackendError, InvalidPayloadError
from polos.ports import Clock

_log = logging.getLogger("polos.aws")

MOST_BYTES: Final = 4096
_REASON_BYTES: Final = 3072
_ATTEMPTS: Final = 5
_TIMEOUT: Final = 5.0
_CUT: Final = "[...] "
KINDS: Final = ("Create", "Update", "Delete")
_FIELDS: Final = ("ResponseURL", "StackId", "RequestId", "LogicalResourceId")


@dataclass(frozen=True, slots=True)
class Request:
    """One request of CloudFormation. `kind` is one of `KINDS`, or what nobody knows and is answered, too."""

    kind: str
    url: str
    stack_id: str
    request_id: str
    logical_id: str
    physical_id: str | None

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> Request:
        """Raises `InvalidPayloadError` for what cannot be answered, or not so that CloudFormation would know it."""
        missing = [name for name in _FIELDS if not isinstance(event.get(name), str) or not event[name]]
        if missing:
            raise InvalidPayloadError(f"A request of CloudFormation lacks {', '.join(missing)}.")
        kind, url = event.get("RequestType"), str(event["ResponseURL"])
        if urllib.parse.urlsplit(url).scheme not in ("https", "http"):
            raise InvalidPayloadError("A request of CloudFormation has an answer URL that is not of the web.")
        own = event.get("PhysicalResourceId")
        return cls(
            str(kind),
            url,
            str(event["StackId"]),
            str(event["RequestId"]),
            str(event["LogicalResourceId"]),
            own if isinstance(own, str) and own else None,
        )


def is_request(event: object) -> bool:
    """Whether a function's event is a request for a custom resource."""
    if not isinstance(event, dict):
        return False
    found = cast("dict[str, Any]", event)
    return "RequestType" in found and "ResponseURL" in found


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request failed: what must be said, and details of which the end says the most, as in a traceback."""

    said: str
    details: str = ""

    def reason(self, most: int) -> str:
        """At most so many bytes, taken from the details as long as there are some."""
        said = head(self.said, most)
        room = most - len(said.encode()) - 1
        return f"{said}\n{tail(self.details, room)}" if self.details and room > len(_CUT) else said


def body(request: Request, physical_id: str, failure: Failure | None = None) -> bytes:
    """An answer, cut to what CloudFormation takes. `physical_id` is for a resource that has none yet."""
    answer: dict[str, Any] = {
        "Status": "SUCCESS" if failure is None else "FAILED",
        "PhysicalResourceId": request.physical_id or physical_id,
        "StackId": request.stack_id,
        "RequestId": request.request_id,
        "LogicalResourceId": request.logical_id,
    }
    most = _REASON_BYTES
    while True:
        reason = {} if failure is None else {"Reason": failure.reason(most)}
        whole = json.dumps({**answer, **reason}, ensure_ascii=False).encode(errors="replace")
        if len(whole) <= MOST_BYTES or most == 0:
            return whole
        most = max(0, most - (len(whole) - MOST_BYTES))


def head(text: str, most: int) -> str:
    """The first bytes of a text, whole characters."""
    return text.encode(errors="replace")[:most].decode(errors="ignore")


def tail(text: str, most: int) -> str:
    """The last bytes of a text, whole characters, with a sign that something is missing before."""
    data = text.encode(errors="replace")
    if len(data) <= most:
        return data.decode()
    return _CUT + data[len(data) - max(0, most - len(_CUT)) :].decode(errors="ignore")


def send(request: Request, answer: bytes, clock: Clock, remaining: Callable[[], float]) -> None:
    """Put an answer to the request's URL; tried again as long as there is time. Raises `BackendError` in the end.

    Lambda then invokes the function again, up to twice, and it answers anew (Lambda Developer Guide, "Error handling
    for asynchronous invocation").
    """
    problem = ""
    for attempt in range(_ATTEMPTS):
        if attempt:
            pause = clock.real_delay(0.25 * 2**attempt)
            if pause + _TIMEOUT > remaining():
                break
            threading.Event().wait(pause)
        put = urllib.request.Request(request.url, answer, {"Content-Type": ""}, method="PUT")
        try:
            with urllib.request.urlopen(put, timeout=_TIMEOUT):
                return
        except (OSError, ValueError) as error:  # URLError and HTTPError are OSErrors; a bad URL is a ValueError
            problem = f"{type(error).__name__}: {error}"
            _log.warning("the answer to CloudFormation was not taken: %s", problem)
    raise BackendError(f"CloudFormation did not take the answer to its request {request.request_id} ({problem}).")


def log_link(group: str, stream: str) -> str:
    """Where the log of an invocation is to be read in the console. It wants slashes and the like escaped twice over."""
    region = os.environ.get("AWS_REGION", "")

    def twice(text: str) -> str:
        return urllib.parse.quote(urllib.parse.quote(text, safe=""), safe="").replace("%", "$")

    return (
        f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}"
        f"#logsV2:log-groups/log-group/{twice(group)}/log-events/{twice(stream)}"
    )
