"""What went wrong with AWS, as one sentence that says what to do, and the pause before a request is made again.

Owns the translation of botocore's errors into `BackendError`. Decides nothing about retries of whole messages.
"""

from __future__ import annotations

import threading
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    SSOError,
    TokenRetrievalError,
)

from polos.clock import draw
from polos.errors import BackendError
from polos.ports import Clock

ATTEMPTS = 5
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_UNKNOWN_IDENTITY = frozenset(
    {"UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId", "SignatureDoesNotMatch"}
)
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"})
_FORBIDDEN = "403"  # a HEAD request has no body that could say more
_MISSING = frozenset(
    {"ResourceNotFoundException", "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "NoSuchBucket"}
)
_THROTTLED = frozenset(
    {
        "ThrottlingException",
        "Throttling",
        "ThrottledException",
        "RequestThrottled",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "TooManyRequestsException",
        "SlowDown",
    }
)


def answer_of(error: ClientError) -> dict[str, Any]:
    """AWS's whole answer."""
    answer: Any = error.response
    return answer


def code_of(error: ClientError) -> str:
    """The error code that AWS gave."""
    return str(answer_of(error).get("Error", {}).get("Code", ""))


def is_denied(error: ClientError) -> bool:
    """Whether it is for want of a permission."""
    return code_of(error) in _DENIED or code_of(error) == _FORBIDDEN


def call(method: Any, /, **parameters: Any) -> Any:
    """Call a method of a boto3 client. Raises `BackendError` in place of botocore's errors, which stay its cause."""
    try:
        return method(**parameters)
    except (ClientError, BotoCoreError) as error:
        raise explained(error) from error


def explained(error: ClientError | BotoCoreError) -> BackendError:
    """The error as a sentence with what to do."""
    if isinstance(error, ClientError):
        return BackendError(_about_answer(error))
    return BackendError(_about_request(error))


def _about_answer(error: ClientError) -> str:
    code, said = code_of(error), str(answer_of(error).get("Error", {}).get("Message", "")).rstrip(".")
    what = f"{error.operation_name} ({code}: {said})"
    if code in _EXPIRED:
        return f"The AWS credentials have expired; sign in again. {what}"
    if code in _UNKNOWN_IDENTITY:
        return f"AWS does not know these credentials; check the profile and the region. {what}"
    if code in _DENIED:
        return f"AWS does not allow this role {error.operation_name}; attach the stack's client policy. {what}"
    if code in _MISSING:
        return f"A part of the stack is missing in this account and region; deploy the stack again. {what}"
    if code in _THROTTLED:
        return f"AWS throttled {error.operation_name} until the attempts were used up; it is tried again later. {what}"
    return f"AWS refused {what}."


def _about_request(error: BotoCoreError) -> str:
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return f"There are no AWS credentials here; sign in, or set AWS_PROFILE. ({error})"
    if isinstance(error, CredentialRetrievalError | SSOError | TokenRetrievalError):
        return f"The AWS credentials could not be fetched or have expired; sign in again. ({error})"
    if isinstance(error, NoRegionError):
        return "There is no AWS region here; pass region= or set AWS_REGION."
    if isinstance(error, ConnectionError | HTTPClientError):
        return f"AWS could not be reached; check the network and the region. ({error})"
    return f"The request to AWS could not be made: {error}"


def pause(clock: Clock, attempt: int) -> None:
    """Wait before the attempt after number `attempt` (from 0): up to 50 ms, doubling, with full jitter."""
    threading.Event().wait(clock.real_delay(min(2.0, 0.05 * 2**attempt) * draw()))
