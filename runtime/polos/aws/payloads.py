"""An S3 bucket as the Payloads port. Keys are made from content, so a second put of a key changes nothing."""

from __future__ import annotations

from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from polos.aws import faults
from polos.aws.clients import Clients

PREFIX: Final = "payloads/"
_READS = 3


class S3Payloads:
    """1 request a call. Thread-safe."""

    def __init__(self, clients: Clients, bucket: str) -> None:
        self._clients, self._bucket = clients, bucket

    def put(self, key: str, data: bytes) -> None:
        faults.call(self._clients.s3.put_object, Bucket=self._bucket, Key=PREFIX + key, Body=data)

    def renew(self, key: str) -> None:
        """Copy it onto itself: its age, by which the bucket's lifecycle removes it, begins anew.

        S3 takes such a copy only if something is changed, as by replacing the metadata (API reference, "CopyObject").
        """
        name = PREFIX + key
        source = {"Bucket": self._bucket, "Key": name}
        try:
            self._clients.s3.copy_object(
                Bucket=self._bucket, Key=name, CopySource=source, MetadataDirective="REPLACE", Metadata={"kept": "1"}
            )
        except ClientError as error:
            if faults.code_of(error) in ("NoSuchKey", "404"):
                raise KeyError(key) from None
            raise faults.explained(error) from error
        except BotoCoreError as error:
            raise faults.explained(error) from error

    def get(self, key: str) -> bytes:
        """A body that breaks off is read again: botocore retries the request, but not the reading of its body."""
        for attempt in range(_READS):
            try:
                answer: Any = self._clients.s3.get_object(Bucket=self._bucket, Key=PREFIX + key)
                return bytes(answer["Body"].read())
            except ClientError as error:
                if faults.code_of(error) in ("NoSuchKey", "404"):
                    raise KeyError(key) from None
                raise faults.explained(error) from error
            except BotoCoreError as error:
                if attempt == _READS - 1:
                    raise faults.explained(error) from error
        raise AssertionError("unreachable")
